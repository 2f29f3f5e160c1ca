"""Small SavedModels to serve: they save in a fraction of a second and need no Keras."""

from pathlib import Path

import tensorflow as tf

NAMES = [str(digit) for digit in range(10)]


class Digits(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """The signatures of an exported model; says that every image shows ``favourite``."""

    def __init__(self, favourite: int) -> None:
        self.weights = tf.Variable(tf.zeros((784, 10)))
        self.bias = tf.Variable(tf.one_hot(favourite, 10) * 9.0)

    def answer(self, images):
        flat = tf.reshape(tf.cast(images, tf.float32) / 255.0, (-1, 784))
        probabilities = tf.nn.softmax(flat @ self.weights + self.bias)
        class_ids = tf.argmax(probabilities, axis=-1)
        return {
            "probabilities": probabilities,
            "class_ids": class_ids,
            "class_names": tf.gather(tf.constant(NAMES), class_ids),
        }

    @tf.function(input_signature=[tf.TensorSpec((None, 28, 28), tf.uint8, name="images")])
    def images(self, images):
        return self.answer(tf.ensure_shape(images, (None, 28, 28)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="pixels")])
    def pixels(self, pixels):
        return self.answer(tf.io.decode_raw(pixels, tf.uint8, fixed_length=784))


def save_digits(base: Path, version: int, favourite: int | None = None) -> Path:
    """Publishes a version by one rename, as ``export_model`` does."""
    model = Digits(version % 10 if favourite is None else favourite)
    staged = base / f".staging-{version}"
    tf.saved_model.save(
        model, str(staged), signatures={"serving_default": model.images, "pixels": model.pixels}
    )
    return staged.rename(base / str(version))


class Oddities(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Inputs and outputs that a digit model does not have."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def double(self, x):
        return {"y": x * 2.0}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.int64, name="a"),
            tf.TensorSpec((None,), tf.int64, name="b"),
        ]
    )
    def add(self, a, b):
        return {"sum": a + b, "larger": tf.maximum(a, b)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def shout(self, text):
        return {"upper": tf.strings.upper(text), "raw_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.bool, name="flags")])
    def invert(self, flags):
        return {"not": tf.logical_not(flags)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def total(self, x):
        return {"total": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def uneven(self, x):
        return {"all": x, "first": x[:1]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="x")])
    def kinds(self, x):
        return {
            str(dtype.name): tf.cast(x, dtype)
            for dtype in (
                *(tf.float16, tf.float32, tf.float64, tf.bool),
                *(tf.int8, tf.int16, tf.int32, tf.int64),
                *(tf.uint8, tf.uint16, tf.uint32, tf.uint64),
            )
        }


def save_oddities(base: Path, version: int = 1) -> Path:
    model = Oddities()
    folder = base / str(version)
    names = ["double", "add", "shout", "invert", "total", "uneven", "kinds"]
    signatures = {name: getattr(model, name) for name in names}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder
