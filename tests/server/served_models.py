"""Small SavedModels, which are saved in a fraction of a second and need no Keras."""

from pathlib import Path
from typing import Any, Final

import tensorflow as tf

NAMES = [str(digit) for digit in range(10)]


class Digits(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A model with signatures of an exported one, which predicts one class for every image."""

    def __init__(self, class_id: int) -> None:
        self.weights = tf.Variable(tf.zeros((784, 10)))
        self.bias = tf.Variable(tf.one_hot(class_id, 10) * 9.0)

    def predict(self, images: Any) -> dict[str, Any]:
        flat = tf.reshape(tf.cast(images, tf.float32) / 255.0, (-1, 784))
        probabilities = tf.nn.softmax(flat @ self.weights + self.bias)
        class_ids = tf.argmax(probabilities, axis=-1)
        return {
            "probabilities": probabilities,
            "class_ids": class_ids,
            "class_names": tf.gather(tf.constant(NAMES), class_ids),
        }

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8, name="images")])
    def images(self, images: Any) -> dict[str, Any]:
        return self.predict(tf.ensure_shape(images, (None, 28, 28)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="pixels")])
    def pixels(self, pixels: Any) -> dict[str, Any]:
        return self.predict(tf.io.decode_raw(pixels, tf.uint8, fixed_length=784))


def save_digits(base: Path, version: int) -> Path:
    """Publish a version by one rename; it predicts the last digit of its number."""
    model = Digits(version % 10)
    staged = base / f".staging-{version}"
    tf.saved_model.save(
        model, str(staged), signatures={"serving_default": model.images, "pixels": model.pixels}
    )
    return staged.rename(base / str(version))


class Mixed(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A model with inputs and outputs of many dtypes and shapes."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def double(self, x: Any) -> dict[str, Any]:
        return {"y": x * 2.0}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.int64, name="a"),
            tf.TensorSpec((None,), tf.int64, name="b"),
        ]
    )
    def add(self, a: Any, b: Any) -> dict[str, Any]:
        return {"sum": a + b, "larger": tf.maximum(a, b)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def shout(self, text: Any) -> dict[str, Any]:
        return {"upper": tf.strings.upper(text), "raw_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.bool, name="flags")])
    def invert(self, flags: Any) -> dict[str, Any]:
        return {"not": tf.logical_not(flags)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def total(self, x: Any) -> dict[str, Any]:
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def uneven(self, x: Any) -> dict[str, Any]:
        return {"all": x, "first": x[:1]}


ECHO: Final = {
    dtype.name: tf.TensorSpec((None, 2), dtype, name=dtype.name)
    for dtype in (
        *(tf.bool, tf.int8, tf.int16, tf.int32, tf.int64),
        *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
        *(tf.float16, tf.bfloat16, tf.float32, tf.float64),
    )
}
ECHO_COMPLEX: Final = tf.TensorSpec((None, 2), tf.complex64, name="x")


def save_mixed(base: Path) -> Path:
    """Save version 1 of the model."""
    model = Mixed()
    folder = base / "1"
    names = ["double", "add", "shout", "invert", "total", "uneven"]
    signatures = {name: getattr(model, name) for name in names}
    signatures["echo"] = tf.function(lambda **inputs: inputs).get_concrete_function(**ECHO)
    signatures["complex"] = tf.function(lambda x: {"x": x}).get_concrete_function(ECHO_COMPLEX)
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder
