"""The functions that an exported model serves, by the names that clients call them.

Those that classify give ``probabilities`` float32 (n, classes), ``class_ids`` int64 (n,) and
``class_names`` string (n,). They differ in how an image comes in, and scale and centre it in the
graph, so no client can get that wrong. ``explain`` also gives ``images`` uint8 (n, height, width),
the pictures as the model sees them. ``classes`` tells what the classes are: for ``class_ids`` int64
(n,) the ``class_names`` and ``weights`` float32 (n, height, width), what each white pixel adds to
the logit of the class.

A server does not enforce a signature's shape; the functions do. Every output has a row for each
row of the input, without which a server that batches requests could not part the answers again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kmnist.pictures import read_pictures

__all__ = ["INPUTS", "serving_functions"]

# signature → its one input. `images` suits gRPC and JSON written by hand, `pixels` moves raw
# bytes through JSON at speed, `pictures` takes what curl, browsers and phones have. The drawing
# page shows what `explain` and `classes` tell.
INPUTS = {
    "serving_default": "images",
    "pixels": "pixels",
    "pictures": "pictures",
    "explain": "pictures",
    "classes": "class_ids",
}


def serving_functions(
    model: keras.Sequential, class_names: Sequence[str], *, extent: float | None
) -> dict[str, tuple[Callable[[Any], dict[str, Any]], tf.TensorSpec]]:
    """The function and the input of each signature.

    Args:
        model: uint8 (n, height, width) → probabilities float32 (n, classes).
        class_names: The name of each class.
        extent: How large the data set draws its ink, for reading pictures; see
            :func:`kmnist.pictures.ink_extent`.

    Returns:
        By signature: a function of its input tensor to its outputs by name, and the input's spec.
        The functions raise InvalidArgumentError for an input of another shape, for pixels of
        another length and for what is not a picture.
    """
    height, width = model.input_shape[1:]
    names = tf.constant(list(class_names))
    kernel = model.layers[-1].kernel  # (height * width, classes)

    def images(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, (None, height, width))
        probabilities = model(images, training=False)
        class_ids = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "class_ids": class_ids,
            "class_names": tf.gather(names, class_ids),
        }

    def pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.ensure_shape(pixels, (None,))
        tf.debugging.assert_equal(
            tf.strings.length(pixels),
            height * width,
            f"each string of pixels has to be {height * width} bytes: {height} rows of {width}, "
            "one byte a pixel",
        )
        # The fixed length lets the shape be known when there is no string to tell it.
        values = tf.io.decode_raw(pixels, tf.uint8, fixed_length=height * width)
        return images(tf.reshape(values, (-1, height, width)))

    # One function of the graph, which `pictures` and `explain` share; traced here and once.
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def trace(pictures: tf.Tensor) -> tf.Tensor:
        return read_pictures(pictures, (height, width), extent=extent)

    read = trace.get_concrete_function()

    def pictures(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return images(read(tf.ensure_shape(pictures, (None,))))

    def explain(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = read(tf.ensure_shape(pictures, (None,)))
        return {**images(seen), "images": seen}

    def classes(class_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        class_ids = tf.ensure_shape(class_ids, (None,))
        weights = tf.reshape(tf.transpose(kernel), (-1, height, width))
        return {
            "class_names": tf.gather(names, class_ids),
            "weights": tf.gather(weights, class_ids),
        }

    return {
        "serving_default": (images, tf.TensorSpec((None, height, width), tf.uint8, "images")),
        "pixels": (pixels, tf.TensorSpec((None,), tf.string, "pixels")),
        "pictures": (pictures, tf.TensorSpec((None,), tf.string, "pictures")),
        "explain": (explain, tf.TensorSpec((None,), tf.string, "pictures")),
        "classes": (classes, tf.TensorSpec((None,), tf.int64, "class_ids")),
    }
