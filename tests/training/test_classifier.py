"""Any Keras classifier as a model from uint8 images to probabilities."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.initializers import Constant

from kmnist import Dataset, InputError, build_model, evaluate, train
from kmnist.training.classifier import classifier_for, pixel_weights


class Subclass(keras.Model):  # type: ignore[misc]
    """Logits of images with a channel axis, not built."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.flatten = layers.Conv2D(2, 5, strides=3), layers.Flatten()
        self.dense = layers.Dense(10)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.dense(self.flatten(self.convolution(images)))


def sequential(*parts: layers.Layer, shape: tuple[int | None, ...] = (28, 28)) -> keras.Model:
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *parts])


def cnn(**options: Any) -> keras.Model:
    """Return a small network with state of every kind: batch statistics and random seeds."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=2, **options),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def any_size() -> keras.Model:
    parts = [keras.Input((None, None, 1)), layers.Conv2D(10, 5), layers.GlobalMaxPooling2D()]
    return keras.Sequential(parts)


def two_outputs() -> keras.Model:
    images = keras.Input((28, 28))
    return keras.Model(images, {"a": layers.Dense(3)(layers.Flatten()(images)), "b": images})


@pytest.mark.parametrize(
    ("build", "shape", "pixel_range"),
    [
        (lambda: sequential(layers.Dense(10, activation="softmax")), (28, 28), (0, 1)),
        (lambda: sequential(layers.Dense(10), shape=(784,)), (784,), (-1, 1)),
        (lambda: sequential(layers.Dense(10, dtype="mixed_float16")), (28, 28), (-1, 1)),
        (cnn, (28, 28, 1), (0, 255)),
        (Subclass, (28, 28, 1), (0, 255)),
        (any_size, (28, 28, 1), (0, 255)),
    ],
    ids=["probabilities", "flat logits", "float16", "cnn", "subclass", "any size"],
)
def test_a_classifier_maps_bytes_to_the_probabilities_of_the_model(
    build: Callable[[], keras.Model],
    shape: tuple[int, ...],
    pixel_range: tuple[int, int],
    tiny_dataset: Dataset,
) -> None:
    model = build()
    classifier = classifier_for(model, tiny_dataset, pixel_range=pixel_range)
    assert (classifier.input_shape, classifier.inputs[0].dtype) == ((None, 28, 28), "uint8")
    images = tiny_dataset.test.images[:7]
    low, high = pixel_range
    outputs = model(images.reshape(-1, *shape) / np.float32(255) * (high - low) + low)
    expected = tf.cast(outputs, tf.float32)
    if not np.allclose(expected.numpy().sum(axis=1), 1):
        expected = tf.nn.softmax(expected)
    assert np.allclose(classifier(images), expected, atol=0.001)


def test_a_model_that_is_a_classifier_is_used_as_it_is(tiny_dataset: Dataset) -> None:
    model = build_model()
    assert classifier_for(model, tiny_dataset) is model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: sequential(layers.Dense(10), shape=(28, 28, 3)),
            r"28×28 grey pixels",
        ),
        (
            lambda: sequential(layers.Dense(10), shape=(20, 20)),
            r"expected shape=\(None, 20, 20\), found",
        ),
        (lambda: keras.Sequential([layers.LSTM(3), layers.LSTM(4)]), "does not take images of"),
        (lambda: sequential(layers.Dense(1)), r"must be \(n, classes\), not \(None, 1\): end it"),
        (two_outputs, r"must be \(n, classes\), not dict"),
        (lambda: sequential(layers.Dense(10, activation="sigmoid")), "as after a sigmoid: end it"),
        (
            lambda: sequential(layers.Dense(10, kernel_initializer=Constant(np.nan))),
            "the output of the model is not finite",
        ),
        (lambda: build_model(classes=4), "the model has 4 classes, but .* has 10"),
        (lambda: layers.Dense(10), "must be a Keras model, not Dense"),
    ],
)
def test_a_model_that_is_no_classifier_is_refused(
    build: Callable[[], Any], message: str, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        classifier_for(build(), tiny_dataset)
    assert "\n" not in str(caught.value)


def test_another_pixel_range_is_refused(tiny_dataset: Dataset) -> None:
    with pytest.raises(
        InputError, match=r"not \(0, 2\): .*begin the model with keras\.layers\.Norm"
    ):
        evaluate(build_model(), tiny_dataset.test, pixel_range=(0, 2))


def test_the_weights_of_pixels_are_those_of_one_dense_layer() -> None:
    scaling, dense = layers.Rescaling(1 / 255), layers.Dense(10, activation="softmax")
    assert pixel_weights(sequential(scaling, dense)) is dense.kernel
    logits, softmax = layers.Dense(10), layers.Activation("softmax")
    assert pixel_weights(sequential(logits, softmax), pixel_range=(0, 1)) is logits.kernel
    columns = [keras.Input((28, 28)), scaling, layers.Dense(2), layers.Flatten(), softmax]
    for other in (
        cnn(),
        keras.Sequential(columns),
        sequential(scaling, layers.Dense(9), layers.Dense(10)),
        sequential(scaling, layers.Dense(10, activation="relu")),
        sequential(dense),
        Subclass(),
    ):
        assert pixel_weights(other) is None
    assert pixel_weights(sequential(logits), pixel_range=(-1, 1)) is None


def test_train_takes_any_classifier_of_keras_layers(tiny_dataset: Dataset) -> None:
    model = cnn(kernel_regularizer="l2")
    run = train(model, tiny_dataset, epochs=4, batch_size=20)
    assert run.model is model
    assert run.history[-1].accuracy > 0.9
    assert evaluate(model, tiny_dataset.test).accuracy > 0.65
    with pytest.raises(InputError, match="train this model with its method fit: "):
        train(Subclass(), tiny_dataset, epochs=1)


def test_the_best_epoch_is_kept_across_an_interruption(
    tiny_dataset: Dataset, tmp_path: Any
) -> None:
    options: dict[str, Any] = {"batch_size": 20, "keep_best": True}
    whole = train(cnn(), tiny_dataset, epochs=8, **options)
    accuracies = [epoch.validation_accuracy or 0 for epoch in whole.history]
    kept = whole.settings["kept_epoch"]
    assert kept == 1 + accuracies.index(max(accuracies)) < 8
    assert evaluate(whole.model, tiny_dataset.validation).accuracy == max(accuracies)
    train(cnn(), tiny_dataset, epochs=kept, checkpoint=tmp_path, **options)
    resumed = train(cnn(), tiny_dataset, epochs=8, checkpoint=tmp_path, resume=True, **options)
    assert resumed.weights_digest == whole.weights_digest
    assert resumed.settings == whole.settings
