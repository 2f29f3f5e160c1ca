"""A compacted SavedModel: the same answers from less."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kmnist.export.compact import compact_saved_model


@tf.custom_gradient
def doubled(values: Any) -> Any:
    """Double values; the gradient captures a tensor of the function around it."""
    result = values * 2.0
    return result, lambda upstream: upstream * result


class Module(tf.Module):  # type: ignore[misc]
    """A branch, a loop, a variable, a check, colocation, a gradient and a short argument's name."""

    def __init__(self) -> None:
        self.scale = tf.Variable(3.0)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float32, "n0")])
    def serve(self, n0: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(n0, 100.0, message="too large")]):
            scaled = n0 * self.scale
        with tf.compat.v1.colocate_with(scaled):
            halved = scaled / 2.0
        summed = tf.map_fn(
            lambda value: tf.cond(value > 3.0, lambda: value, lambda: -value), halved
        )
        largest, where = tf.math.top_k(tf.sort(summed), k=1)
        return {"n1": doubled(summed), "largest": largest, "where": where}


def test_the_answers_are_the_same(tmp_path: Path) -> None:
    module, folder = Module(), os.fspath(tmp_path)
    tf.saved_model.save(module, folder, signatures={"serve": module.serve})
    path, values = tmp_path / "saved_model.pb", tf.constant([1.0, 2.5, -4.0])
    fingerprint = (tmp_path / "fingerprint.pb").read_bytes()
    before = path.stat().st_size
    expected = tf.saved_model.load(folder).signatures["serve"](n0=values)

    compact_saved_model(tmp_path)

    assert path.stat().st_size < 0.75 * before
    assert (tmp_path / "fingerprint.pb").read_bytes() != fingerprint
    loaded = tf.saved_model.load(folder).signatures["serve"]
    answers = loaded(n0=values)
    assert answers.keys() == expected.keys() == {"n1", "largest", "where"}
    for name, tensor in expected.items():
        np.testing.assert_array_equal(answers[name], tensor)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        loaded(n0=tf.constant([100.0]))


def test_no_shape_of_a_result_is_stored_in_a_version(models: Path) -> None:
    graph = SavedModel.FromString((models / "1" / "saved_model.pb").read_bytes()).meta_graphs[0]
    nodes = [node for each in graph.graph_def.library.function for node in each.node_def]
    assert len(nodes) > 1000
    assert not any("_output_shapes" in node.attr for node in nodes)
    assert max(len(node.name) for node in nodes) < 8


def test_a_version_has_no_equal_constants_in_a_function_and_its_weights_once(models: Path) -> None:
    graph = SavedModel.FromString((models / "1" / "saved_model.pb").read_bytes()).meta_graphs[0]
    for function in graph.graph_def.library.function:
        constants = [node for node in function.node_def if node.op == "Const" and not node.input]
        values = {node.attr["value"].SerializeToString() for node in constants}
        assert len(values) == len(constants)
    variables = tf.train.list_variables(os.fspath(models / "1" / "variables" / "variables"))
    assert sorted(shape for _, shape in variables if shape) == [[10], [784, 10]]
