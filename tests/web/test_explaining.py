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


def test_explain_equals_pictures_and_returns_the_classified_images(
    signatures: Any, pictures: Any
) -> None:
    answer = signatures["explain"](pictures=pictures)
    for output, expected in signatures["pictures"](pictures=pictures).items():
        np.testing.assert_array_equal(answer[output], expected)

    images = answer["images"].numpy()
    assert (images.dtype, images.shape) == (np.uint8, (10, 28, 28))
    classified = signatures["serving_default"](images=images)["probabilities"]
    np.testing.assert_allclose(answer["probabilities"], classified, atol=1e-5)


def test_classes_returns_names_and_weights_in_the_requested_order(
    signatures: Any, trained: "Run"
) -> None:
    answer = signatures["classes"](class_ids=tf.constant([7, 0], tf.int64))
    assert answer["class_names"].numpy().tolist() == [b"7", b"0"]
    kernel = trained.model.layers[-1].get_weights()[0]
    np.testing.assert_array_equal(answer["weights"], kernel.T.reshape(10, 28, 28)[[7, 0]])


def test_weights_and_images_yield_the_logits_without_the_bias(
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


def test_every_output_has_a_row_for_each_row_of_the_input(signatures: Any, pictures: Any) -> None:
    """Otherwise TensorFlow Serving's batching cannot split the outputs of a batch."""
    for signature, values in {
        "explain": {"pictures": pictures[:3]},
        "classes": {"class_ids": tf.constant([1, 2, 3], tf.int64)},
    }.items():
        for output in signatures[signature](**values).values():
            assert output.shape[0] == 3
