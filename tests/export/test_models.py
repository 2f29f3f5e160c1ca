"""Models of many kinds are as accurate over the wire as they are in Keras."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from kmnist import Client, Dataset, export_model
from kmnist.server import Server

pytestmark = pytest.mark.slow

IMAGE: Final = (28, 28)


@keras.saving.register_keras_serializable("kmnist-tests")
class Doubled(layers.Layer):  # type: ignore[misc]
    """A layer of the user's own."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2.0


@keras.saving.register_keras_serializable("kmnist-tests")
class Subclass(keras.Model):  # type: ignore[misc]
    """A model without a declared input."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flatten = layers.Flatten()
        self.dense = layers.Dense(10, activation="softmax")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.dense(self.flatten(inputs))


def sequential(*inner: layers.Layer, shape: tuple[int | None, ...] = IMAGE) -> keras.Model:
    last = layers.Dense(10, activation="softmax", dtype="float32")
    return keras.Sequential([keras.Input(shape), *inner, last])


def flat(*inner: layers.Layer, **options: Any) -> keras.Model:
    return sequential(layers.Flatten(), *inner, **options)


def logits(*inner: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(IMAGE), layers.Flatten(), *inner, layers.Dense(10)])


def attention() -> keras.Model:
    rows = keras.Input(IMAGE)
    seen = layers.Flatten()(layers.MultiHeadAttention(2, 8)(rows, rows))
    return keras.Model(rows, layers.Dense(10, activation="softmax")(seen))


def standardized() -> keras.Model:
    return sequential(layers.Normalization(mean=33.3, variance=78.6**2), layers.Flatten())


def computing_in(dtype: str) -> keras.Model:
    return flat(layers.Dense(32, activation="relu", dtype=dtype))


def any_size() -> keras.Model:
    pooled = (layers.Conv2D(8, 5, activation="relu"), layers.GlobalMaxPooling2D())
    return sequential(*pooled, shape=(None, None, 1))


MODELS: Final[dict[str, tuple[Callable[[], keras.Model], tuple[int, int]]]] = {
    "pixels to 255": (lambda: sequential(layers.Rescaling(1 / 255), layers.Flatten()), (0, 255)),
    "pixels to 1": (flat, (0, 1)),
    "pixels from -1": (flat, (-1, 1)),
    "standardized": (standardized, (0, 255)),
    "logits": (logits, (0, 1)),
    "logits of two layers": (lambda: logits(layers.Dense(32)), (0, 1)),
    "two layers": (lambda: flat(layers.Dense(32, activation="relu")), (0, 1)),
    "three layers": (lambda: flat(layers.Dense(32), layers.Dense(32)), (0, 1)),
    "flat pixels": (lambda: sequential(shape=(784,)), (0, 1)),
    "subclass": (Subclass, (0, 1)),
    "mixed precision": (lambda: computing_in("mixed_float16"), (0, 1)),
    "float16": (lambda: computing_in("float16"), (0, 1)),
    "int8": (lambda: flat(layers.Dense(32, activation="relu")), (0, 1)),
    "batch normalization": (lambda: flat(layers.BatchNormalization()), (0, 1)),
    "augmentation": (
        lambda: sequential(layers.RandomZoom(0.2), layers.Flatten(), shape=(28, 28, 1)),
        (0, 1),
    ),
    "dropout": (lambda: flat(layers.Dropout(0.2)), (0, 1)),
    "recurrent": (lambda: sequential(layers.GRU(16)), (0, 1)),
    "attention": (attention, (0, 1)),
    "own layer": (lambda: flat(Doubled()), (0, 1)),
    "convolution": (
        lambda: sequential(layers.Conv2D(4, 5), layers.Flatten(), shape=(28, 28, 1)),
        (0, 1),
    ),
    "any size": (any_size, (0, 1)),
}


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("kind", MODELS)
def test_the_served_version_is_as_accurate_as_keras(
    kind: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    make, (low, high) = MODELS[kind]
    model = make()
    shape = [size or 28 for size in getattr(model, "input_shape", (None, *IMAGE))[1:]]

    def prepared(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scaled = images.astype(np.float32) / np.float32(255) * (high - low) + low
        return scaled.reshape(-1, *shape).astype(np.float32)

    from_logits = kind.startswith("logits")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    model.compile("sgd", loss, jit_compile=False)
    train, test = tiny_dataset.train, tiny_dataset.test
    model.fit(prepared(train.images), train.labels, batch_size=20, epochs=2, verbose=0)
    if kind == "int8":
        model.quantize("int8")
    expected = np.asarray(model(prepared(test.images), training=False)).argmax(axis=1)
    version = export_model(model, tiny_dataset, tmp_path / "own", pixel_range=(low, high))
    with (
        Server(version.parent, grpc_port=0, rest_port=0) as server,
        Client(server.grpc_url, model="own") as client,
    ):
        found = client.predict(test.images).class_ids
    assert np.mean(found == expected) > 0.99
    assert len(set(expected.tolist())) > 1
