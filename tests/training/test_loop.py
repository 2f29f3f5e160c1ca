"""The training loop: its arithmetic, callbacks, metrics and resumed runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist import (
    Dataset,
    Epoch,
    InputError,
    Run,
    build_model,
    evaluate,
    load_dataset,
    train,
)
from kmnist.training.batches import epoch_order
from kmnist.training.loop import weights_digest


def softmax_sgd(
    dataset: Dataset, weights: list[NDArray[np.float32]], epochs: int, batch: int, rate: float
) -> tuple[list[NDArray[np.float64]], list[float]]:
    """Train in NumPy, float64, from the formulas; return the weights and the cost per epoch."""
    kernel, bias = (weight.astype(np.float64) for weight in weights)
    images = dataset.train.images.reshape(len(dataset.train), -1) / 255
    one_hot = np.eye(len(dataset.class_names))[dataset.train.labels]
    costs = []
    for epoch in range(epochs):
        order, cost = epoch_order(len(images), 0, epoch), 0.0
        for start in range(0, len(images), batch):
            x, y = images[order[start : start + batch]], one_hot[order[start : start + batch]]
            logits = x @ kernel + bias
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            cost -= np.log((p * y).sum(axis=1)).sum()
            gradient = (p - y) / len(x)
            kernel -= rate * x.T @ gradient
            bias -= rate * gradient.sum(axis=0)
        costs.append(cost / len(images))
    return [kernel, bias], costs


@pytest.mark.parametrize("init", ["glorot_uniform", "random_normal"])
@pytest.mark.parametrize(
    "batch_size", [1, 64, 1000]
)  # many, which XLA compiles; a smaller last one
def test_training_is_softmax_regression_with_sgd(tiny: Path, init: str, batch_size: int) -> None:
    dataset, model = load_dataset(tiny, validation_size=0), build_model(init=init)
    expected, costs = softmax_sgd(dataset, model.get_weights(), 3, batch_size, 0.01)
    run = train(model, dataset, epochs=3, batch_size=batch_size, learning_rate=0.01)
    for weight, exact in zip(model.get_weights(), expected, strict=True):
        assert np.allclose(weight, exact, atol=5e-5)
    assert [epoch.cost for epoch in run.history] == pytest.approx(costs, rel=1e-4)
    assert run.history[0].validation_cost is run.history[0].validation_accuracy is None


def test_equal_seeds_give_bit_identical_weights(tiny_dataset: Dataset) -> None:
    digests = [
        train(build_model(seed=seed), tiny_dataset, epochs=2, seed=seed).weights_digest
        for seed in (7, 7, 8)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_is_that_of_the_weights(trained: Run) -> None:
    kernel, bias = trained.model.get_weights()
    other = build_model()
    other.set_weights([kernel, bias])
    assert weights_digest(other) == trained.weights_digest
    kernel[0, 0] += 1e-6
    other.set_weights([kernel, bias])
    assert weights_digest(other) != trained.weights_digest


def test_the_metrics_of_an_epoch_are_those_of_its_weights(trained: Run) -> None:
    last = trained.history[-1]
    validation = evaluate(trained.model, trained.dataset.validation)
    assert last.epoch == 30
    assert last.validation_accuracy == validation.accuracy
    assert last.validation_cost == pytest.approx(validation.cost)


def test_callbacks_follow_blocks_and_epochs_and_nothing_is_printed(
    tiny_dataset: Dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks: list[tuple[int, int, int]] = []
    epochs: list[Epoch] = []
    run = train(
        build_model(),
        tiny_dataset,
        epochs=2,
        batch_size=90,
        on_block=lambda epoch, steps, done: blocks.append((epoch, steps, done)),
        on_epoch=epochs.append,
    )
    assert blocks == [(1, 5, 4), (1, 5, 5), (2, 5, 4), (2, 5, 5)]
    assert tuple(epochs) == run.history
    assert capfd.readouterr().out == ""


class Stopped(Exception):
    pass


def stop_after(epochs: int) -> Callable[[Epoch], None]:
    def stop(epoch: Epoch) -> None:
        if epoch.epoch == epochs:
            raise Stopped

    return stop


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_dataset: Dataset, tmp_path: Path, stopped_after: int
) -> None:
    whole = train(build_model(), tiny_dataset, epochs=4)
    with pytest.raises(Stopped):
        train(
            build_model(),
            tiny_dataset,
            epochs=4,
            checkpoint=tmp_path,
            on_epoch=stop_after(stopped_after),
        )
    resumed = train(build_model(seed=99), tiny_dataset, epochs=4, checkpoint=tmp_path, resume=True)
    assert resumed.weights_digest == whole.weights_digest
    assert [epoch.cost for epoch in resumed.history] == [epoch.cost for epoch in whole.history]


def test_a_finished_run_can_be_resumed_with_more_epochs(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    train(build_model(), tiny_dataset, epochs=2, checkpoint=tmp_path)
    more = train(build_model(), tiny_dataset, epochs=3, checkpoint=tmp_path, resume=True)
    assert more.weights_digest == train(build_model(), tiny_dataset, epochs=3).weights_digest


def test_keeping_the_best_epoch_needs_validation_images(tiny: Path) -> None:
    with pytest.raises(InputError, match="keep_best needs validation images"):
        train(build_model(), load_dataset(tiny, validation_size=0), keep_best=True)


def test_resuming_needs_a_checkpoint(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="resume needs checkpoint"):
        train(build_model(), tiny_dataset, resume=True)


def test_tensorboard_gets_the_metrics_of_each_epoch(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = train(build_model(), tiny_dataset, epochs=2, tensorboard=tmp_path)
    (path,) = tmp_path.glob("events.*")
    costs = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            if value.tag == "validation_cost":
                costs[event.step] = float(tf.make_ndarray(value.tensor))
    assert costs == {e.epoch: pytest.approx(e.validation_cost) for e in run.history}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer from 1 to"),
        ({"batch_size": 2.0}, r"batch_size must be an integer from 1 to .*, not 2\.0"),
        ({"learning_rate": 0.0}, r"learning_rate must be a positive number, not 0\.0"),
        ({"learning_rate": float("nan")}, "not nan"),
        ({"learning_rate": "0.1"}, "not '0.1'"),
        ({"seed": -1}, "seed must be an integer from 0 to 2,147,483,646, not -1"),
    ],
)
def test_settings_out_of_range_are_rejected(
    settings: dict[str, Any], message: str, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError, match=message):
        train(build_model(), tiny_dataset, **settings)


def test_the_settings_are_recorded_as_numbers_of_python(tiny_dataset: Dataset) -> None:
    run = train(
        build_model(seed=np.int32(1)),  # type: ignore[arg-type]
        tiny_dataset,
        epochs=np.int64(1),  # type: ignore[arg-type]
        batch_size=np.uint16(50),  # type: ignore[arg-type]
        learning_rate=np.float32(0.5),  # type: ignore[arg-type]
        seed=np.int64(3),  # type: ignore[arg-type]
    )
    assert json.dumps(run.settings) == (
        '{"epochs": 1, "batch_size": 50, "learning_rate": 0.5, "seed": 3, "replicas": 1}'
    )


def test_a_training_that_diverges_stops_in_that_epoch(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    epochs: list[Epoch] = []
    with pytest.raises(
        InputError, match=r"training diverged in epoch 1: use a smaller learning rate than 3e\+38"
    ):
        train(
            build_model(),
            tiny_dataset,
            learning_rate=3e38,
            checkpoint=tmp_path,
            on_epoch=epochs.append,
        )
    assert epochs == []
    with np.load(tmp_path / "checkpoint.npz") as saved:
        assert np.isfinite(saved["arr_0"]).all()


def test_the_checkpoint_of_another_model_is_rejected(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(build_model(), tiny_dataset, epochs=1, checkpoint=tmp_path)
    more = replace(tiny_dataset, class_names=tuple("0123456789a"))
    with pytest.raises(InputError, match=r"float32 \(784, 10\).*, not .*\(784, 11\)"):
        train(build_model(classes=11), more, checkpoint=tmp_path, resume=True)


SEVERAL_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from kmnist import InputError, build_model, load_dataset, train
dataset = load_dataset(sys.argv[1], validation_size=5)  # 495 images: the last batch is odd

def limited():
    limits = {"kernel_constraint": keras.constraints.MaxNorm(0.05), "kernel_regularizer": "l2"}
    layers = build_model().layers[:-1]
    layers.append(keras.layers.Dense(10, "softmax", kernel_initializer="zeros", **limits))
    return keras.Sequential([keras.Input((28, 28), dtype="uint8"), *layers])

build_model()
assert tf.config.threading.get_intra_op_parallelism_threads() == 1

weights = []
for devices in (1, 2):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:devices])
    model = limited()
    with strategy.scope():
        run = train(model, dataset, epochs=2, batch_size=90)
    assert run.settings["replicas"] == devices
    weights.append(model.get_weights())
assert all(np.allclose(*pair, atol=1e-5) for pair in zip(*weights, strict=True))
assert not all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
assert np.linalg.norm(weights[0][0], axis=0).max() > 0.0499, "the limit is not reached"

dropping = keras.Sequential([*build_model().layers[:-1], keras.layers.Dropout(0.5), model.layers[-1]])
with strategy.scope():
    try:
        train(dropping, dataset, epochs=1)
    except InputError as error:
        print("same update;", error)
"""


@pytest.mark.slow
def test_a_small_model_uses_one_thread_and_several_devices_make_the_same_update(tiny: Path) -> None:
    # In a new process: threads and logical devices can only be set before TensorFlow starts.
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_DEVICES, str(tiny)], capture_output=True, text=True
    )
    assert done.stdout.startswith("same update; a model with state that is not"), done.stderr
