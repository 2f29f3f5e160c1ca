"""Any Keras classifier as a model from uint8 images to probabilities."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kmnist import Dataset, InputError, Run, build_model, evaluate, train
from kmnist.training import loop
from kmnist.training.classifier import as_classifier, classifier_for, pixel_weights
from kmnist.training.step import TrainingStep


class Subclass(keras.Model):  # type: ignore[misc]
    """Logits of images with a channel axis, not built."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling, self.convolution = layers.Rescaling(1 / 255), layers.Conv2D(2, 5, strides=3)
        self.flatten, self.dense = layers.Flatten(), layers.Dense(10)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.dense(self.flatten(self.convolution(self.scaling(images))))


class Noise(layers.Layer):  # type: ignore[misc]
    """Random, whether the model is trained or not."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + tf.random.normal(tf.shape(inputs))


def sequential(
    *shape: int | None, scale: float = 1 / 255, end: Any = "softmax", dtype: str = "float32"
) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape, dtype=dtype),
            layers.Rescaling(scale),
            layers.Flatten(),
            layers.Dense(10, activation=end),
        ]
    )


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


def two_outputs() -> keras.Model:
    images = keras.Input((28, 28))
    return keras.Model(images, {"a": layers.Dense(3)(layers.Flatten()(images)), "b": images})


@pytest.mark.parametrize(
    "build",
    [
        lambda: sequential(28, 28),
        lambda: sequential(28, 28, 1, end=None),
        lambda: sequential(784, end=None, dtype="int32"),
        cnn,
        Subclass,
        lambda: keras.Sequential(
            [keras.Input((None, None, 1)), layers.Conv2D(10, 5), layers.GlobalMaxPooling2D()]
        ),
    ],
    ids=["probabilities", "logits with a channel", "flat", "cnn", "subclass", "any size"],
)
def test_a_classifier_maps_bytes_to_the_probabilities_of_the_model(
    build: Callable[[], keras.Model], tiny_dataset: Dataset
) -> None:
    model = build()
    classifier = classifier_for(model, tiny_dataset, trained=False)
    assert classifier.input_shape == (None, 28, 28)
    assert classifier.inputs[0].dtype == "uint8"
    images = tiny_dataset.test.images[:7]
    shape = model.input_shape[1:] if not isinstance(model, Subclass) else (28, 28, 1)
    shape = tuple(size or 28 for size in shape)
    outputs = model(images.reshape(-1, *shape).astype(np.float32))
    expected = outputs if np.allclose(outputs.numpy().sum(1), 1) else tf.nn.softmax(outputs)
    assert np.allclose(classifier(images), expected, atol=1e-6)


def test_a_model_that_is_a_classifier_is_used_as_it_is(tiny_dataset: Dataset) -> None:
    model = build_model()
    assert classifier_for(model, tiny_dataset) is model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sequential(28, 28, 3), r"input float32 \(None, 28, 28, 3\) for .*one channel"),
        (lambda: sequential(20, 20), r"input float32 \(None, 20, 20\) for images of \(28, 28\)"),
        (
            lambda: sequential(28, 28, end="sigmoid"),
            "outputs are from 0 to 1.*end the model with so",
        ),
        (
            lambda: keras.Sequential([sequential(28, 28), layers.Dense(1)]),
            r"output \(100, 1\); exp",
        ),
        (two_outputs, "output dict; expected one"),
        (lambda: keras.Sequential([sequential(28, 28), Noise()]), "not deterministic: outputs for"),
        (lambda: keras.Sequential([layers.LSTM(3), layers.LSTM(4)]), "which fails for them .Value"),
        (lambda: build_model(classes=4), "model of 4 classes; .* has 10 classes; build the model"),
        (lambda: layers.Dense(10), "received Dense and Dataset; expected a Keras model"),
    ],
)
def test_a_model_that_is_no_classifier_is_refused(
    build: Callable[[], Any], message: str, tiny_dataset: Dataset
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        classifier_for(build(), tiny_dataset)
    assert "\n" not in str(caught.value)


def test_a_model_with_weights_that_are_not_finite_is_refused(tiny_dataset: Dataset) -> None:
    model = sequential(28, 28, end=None)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(InputError, match="output is not finite"):
        evaluate(model, tiny_dataset.test)


def test_a_model_trained_on_pixels_from_0_to_1_is_refused(
    trained: Run, tiny_dataset: Dataset
) -> None:
    for end in ("softmax", None):
        model = sequential(28, 28, scale=1, end=end)
        model.set_weights(trained.model.get_weights())
        with pytest.raises(InputError, match=r"expects pixels from 0 to 1: .*Rescaling\(1 / 255\)"):
            evaluate(model, tiny_dataset.test)
        assert as_classifier(model, tiny_dataset.test, trained=False)


def test_the_weights_of_pixels_are_those_of_one_dense_layer() -> None:
    for model in (build_model(), sequential(28, 28, 1, end=None)):
        weights = pixel_weights(model)
        assert weights is model.layers[-1].kernel
    hidden = keras.Sequential([sequential(28, 28, end="relu"), layers.Dense(10)])
    for model in (cnn(), hidden, sequential(28, 28, scale=1), sequential(28, 28, end="relu")):
        assert pixel_weights(model) is None


@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_train_takes_any_classifier_of_keras_layers(
    regularizer: str | None, tiny_dataset: Dataset
) -> None:
    model = cnn(kernel_regularizer=regularizer)
    run = train(model, tiny_dataset, epochs=4, batch_size=20)
    assert run.model is model
    assert run.history[-1].accuracy > 0.9
    assert evaluate(model, tiny_dataset.test).accuracy > 0.65
    assert (
        train(cnn(), tiny_dataset, epochs=4, batch_size=20).weights_digest == (run.weights_digest)
        or regularizer
    )


def test_train_refuses_a_subclass_and_names_fit(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"cannot be copied \(TypeError: .*; train it with its"):
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
    with pytest.raises(InputError, match="with keep_best True; this run has None"):
        train(cnn(), tiny_dataset, epochs=8, batch_size=20, checkpoint=tmp_path, resume=True)


def test_keeping_the_best_epoch_needs_validation_images(tiny_dataset: Dataset) -> None:
    without = Dataset(
        "digits", tiny_dataset.train, tiny_dataset.test[:0], tiny_dataset.test, tuple("0123456789")
    )
    with pytest.raises(InputError, match="keep_best without validation images"):
        train(build_model(), without, keep_best=True)


def test_xla_compiles_dense_layers_only(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bool] = []

    class Step(TrainingStep):
        def __init__(self, *args: Any, **options: Any) -> None:
            compiled.append(options.pop("compiled"))
            super().__init__(*args, compiled=False, **options)

    monkeypatch.setattr(loop, "TrainingStep", Step)
    monkeypatch.setattr(loop, "_STEPS_WORTH_COMPILING", 1)
    deeper = keras.Sequential([sequential(28, 28, end="relu"), layers.Dense(10)])
    for model in (build_model(), sequential(28, 28, 1), cnn(), deeper):
        train(model, tiny_dataset, epochs=1)
    assert compiled == [True, True, False, False]


def test_several_devices_are_refused_for_state_that_is_not_trained(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_check_devices", lambda _: ["CPU:0", "CPU:1"])
    with pytest.raises(
        InputError, match="several devices or workers and a model with state that is not"
    ):
        train(cnn(), tiny_dataset, epochs=1)


def test_something_else_than_a_model_is_not_evaluated(tiny_dataset: Dataset) -> None:
    with pytest.raises(InputError, match="received NoneType; expected a Keras model"):
        evaluate(None, tiny_dataset.test)
