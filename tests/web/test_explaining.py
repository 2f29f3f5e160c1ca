"""The signatures with which the drawing page explains a prediction."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path

    from kmnist import Dataset, Run


@pytest.fixture(scope="module")
def signatures(models: "Path") -> Any:
    """The signatures of the exported version."""
    return tf.saved_model.load(str(models / "1")).signatures


@pytest.fixture(scope="module")
def pictures(tiny_dataset: "Dataset") -> Any:
    """Ten test images as PNG files."""
    images = tiny_dataset.test.images[:10]
    return tf.constant([tf.io.encode_png(image[..., None]).numpy() for image in images])


def test_explain_classifies_as_pictures_does(signatures: Any, pictures: Any) -> None:
    answer = signatures["explain"](pictures=pictures)
    for output, expected in signatures["pictures"](pictures=pictures).items():
        np.testing.assert_array_equal(answer[output], expected)


def test_images_and_weights_explain_the_probabilities(
    signatures: Any, pictures: Any, trained: "Run"
) -> None:
    answer = signatures["explain"](pictures=pictures)
    weights = signatures["classes"](class_ids=tf.range(10, dtype=tf.int64))["weights"].numpy()
    logits = np.einsum("nhw,chw->nc", answer["images"].numpy() / 255, weights)
    probabilities = tf.nn.softmax(logits + trained.model.layers[-1].get_weights()[1])
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)


@pytest.mark.parametrize("class_ids", [[10], [-1], [[3]]])
def test_a_class_that_does_not_exist_is_refused(signatures: Any, class_ids: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["classes"](class_ids=tf.constant(class_ids, tf.int64))
