"""The signatures that let the drawing page explain an answer."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path

    from kmnist import Dataset, Run


@pytest.fixture(scope="module")
def signatures(models: "Path") -> Any:
    return tf.saved_model.load(str(models / "1")).signatures


@pytest.fixture(scope="module")
def pictures(tiny_dataset: "Dataset") -> Any:
    """Ten test images as PNG files."""
    images = tiny_dataset.test.images[:10]
    return tf.constant([tf.io.encode_png(image[..., None]).numpy() for image in images])


def test_explain_answers_as_pictures_does_and_shows_the_images_it_judged(
    signatures, pictures
) -> None:
    answer = signatures["explain"](pictures=pictures)
    for output, expected in signatures["pictures"](pictures=pictures).items():
        np.testing.assert_array_equal(answer[output], expected)

    images = answer["images"].numpy()
    assert (images.dtype, images.shape) == (np.uint8, (10, 28, 28))
    judged = signatures["serving_default"](images=images)["probabilities"]
    np.testing.assert_allclose(answer["probabilities"], judged, atol=1e-5)


def test_classes_gives_names_and_weights_in_the_order_asked_for(signatures, trained: "Run") -> None:
    answer = signatures["classes"](class_ids=tf.constant([7, 0], tf.int64))
    assert answer["class_names"].numpy().tolist() == [b"7", b"0"]
    kernel = trained.model.layers[-1].get_weights()[0]
    np.testing.assert_array_equal(answer["weights"], kernel.T.reshape(10, 28, 28)[[7, 0]])


def test_weights_and_an_image_give_the_logits_but_for_the_bias(
    signatures, pictures, trained: "Run"
) -> None:
    answer = signatures["explain"](pictures=pictures)
    weights = signatures["classes"](class_ids=tf.range(10, dtype=tf.int64))["weights"].numpy()
    logits = np.einsum("nhw,chw->nc", answer["images"].numpy() / 255, weights)
    probabilities = tf.nn.softmax(logits + trained.model.layers[-1].get_weights()[1])
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)


@pytest.mark.parametrize("class_ids", [[10], [-1], [[3]]])
def test_a_class_that_there_is_not_is_refused(signatures, class_ids) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["classes"](class_ids=tf.constant(class_ids, tf.int64))


def test_every_output_has_a_row_for_each_row_of_the_input(signatures, pictures) -> None:
    """Or TensorFlow Serving's batching could not part the answers of a batch."""
    for signature, values in {
        "explain": {"pictures": pictures[:3]},
        "classes": {"class_ids": tf.constant([1, 2, 3], tf.int64)},
    }.items():
        for output in signatures[signature](**values).values():
            assert output.shape[0] == 3
