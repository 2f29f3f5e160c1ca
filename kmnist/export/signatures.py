"""The signatures of an exported model: one table row each.

========================== ================================= ======================================
signature                  input                             purpose
========================== ================================= ======================================
``serving_default``        ``images`` uint8 (n, height,      gRPC, and JSON written by hand
                           width)
``pixels``                 ``pixels`` string (n,), the raw   JSON at speed: base64 of the bytes
                           bytes of one image each
``pictures``, ``explain``  ``pictures`` string (n,), one     curl, browsers and phones; the drawing
                           picture file each                 page
``classes``                ``class_ids`` int64 (n,)          the drawing page
========================== ================================= ======================================

A version has ``classes`` if its model is one Dense layer on the pixels. All others return ``probabilities`` float32 (n, classes), ``class_ids`` int64 (n,) and
``class_names`` string (n,). ``explain`` also returns ``images`` uint8 (n, height, width), the
pictures as the model sees them. ``classes`` returns ``class_names`` string (n,) and ``weights``
float32 (n, height, width), the contribution of each white pixel to the logit of the class; it takes
at most as many ids as there are classes. The limits of pictures are in
:mod:`kmnist.pictures.limits`. The answer to an image or to its pixels is smaller than the request.

Images are scaled and centred in the graph, so that all clients get the same result. Servers do not
enforce the shapes of a signature, so the functions do. Every output has one row per row of the
input; otherwise a server that batches requests could not split the answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.pictures.decode import read_pictures

__all__ = ["Answers", "ServingSignature", "reading_graph", "serving_signatures"]

# Signature → output → values.
Answers: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ServingSignature:
    """A signature of an exported model, with an example to verify and to warm up a server with.

    Attributes:
        name: The name that requests use.
        spec: Dtype, shape and name of the one input.
        function: Maps the input to the outputs by name. Raises InvalidArgumentError for an input of
            another shape, pixels of another length, or bytes that are not a picture.
        sample: A valid input. Its first row is the warm-up request.
        expected: Computes some of the outputs for ``sample`` without ``function``, from the answers
            of all signatures to their samples.
    """

    name: str
    spec: tf.TensorSpec
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    sample: NDArray[Any]
    expected: Callable[[Answers], Mapping[str, Any]]


@lru_cache(maxsize=4)
def reading_graph(
    image_shape: tuple[int, int], extent: float | None, background: float | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Trace :func:`kmnist.pictures.decode.read_pictures`, which takes half a second the first time."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def read(pictures: tf.Tensor) -> tf.Tensor:
        return read_pictures(pictures, image_shape, extent=extent, background=background)

    traced: Callable[[tf.Tensor], tf.Tensor] = read.get_concrete_function()
    return traced


def serving_signatures(
    model: keras.Model,
    class_names: Sequence[str],
    samples: NDArray[np.uint8],
    *,
    kernel: keras.Variable | None,
    extent: float | None,
    background: float | None,
) -> tuple[ServingSignature, ...]:
    """Build the signatures of a model.

    Args:
        model: Maps uint8 (n, height, width) to probabilities float32 (n, classes).
        class_names: The name of each class.
        samples: uint8 (n, height, width), n ≥ 1, the images that the samples are made of.
        kernel: float32 (height * width, classes), the weights of the pixels; None if the model is
            not one Dense layer on them.
        extent: How large the data set draws its ink, for reading pictures; see
            :func:`kmnist.pictures.frame.ink_extent`.
        background: The tone of its background, likewise; see
            :func:`kmnist.pictures.frame.background_tone`.

    Returns:
        The signatures, ``serving_default`` first.
    """
    height, width = model.input_shape[1:]
    names = tf.constant(list(class_names))

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
        # With fixed_length the shape is known even if there are no strings.
        values = tf.io.decode_raw(pixels, tf.uint8, fixed_length=height * width)
        return images(tf.reshape(values, (-1, height, width)))

    # `pictures` and `explain` share one graph, so it is traced and stored only once.
    read = reading_graph((height, width), extent, background)

    def pictures(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return images(read(tf.ensure_shape(pictures, (None,))))

    def explain(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = read(tf.ensure_shape(pictures, (None,)))
        return {**images(seen), "images": seen}

    def expected_of_images(_: Answers) -> dict[str, Any]:
        return {"probabilities": model(samples, training=False)}

    def expected_of_pictures(answers: Answers) -> dict[str, Any]:
        # Reading a picture of an image centres it again, so the model may see another image.
        return {"probabilities": model(answers["explain"]["images"], training=False)}

    def strings(name: str) -> tf.TensorSpec:
        return tf.TensorSpec((None,), tf.string, name)

    raw = np.array([image.tobytes() for image in samples], object)
    png = np.array([tf.io.encode_png(image[..., None]).numpy() for image in samples], object)
    images_spec = tf.TensorSpec((None, height, width), tf.uint8, "images")
    row = ServingSignature
    signatures = (
        row("serving_default", images_spec, images, samples, expected_of_images),
        row("pixels", strings("pixels"), pixels, raw, expected_of_images),
        row("pictures", strings("pictures"), pictures, png, expected_of_pictures),
        row("explain", strings("pictures"), explain, png, expected_of_pictures),
    )
    if kernel is None:
        return signatures
    return (*signatures, _classes_signature(kernel, names, (height, width)))


def _classes_signature(
    kernel: keras.Variable, names: tf.Tensor, image_shape: tuple[int, int]
) -> ServingSignature:
    count = len(names)

    def classes(class_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        class_ids = tf.ensure_shape(class_ids, (None,))
        # Each id of a few bytes is answered with the weights of a whole image.
        asked = tf.size(class_ids)
        tf.debugging.Assert(
            asked <= count,
            [
                tf.strings.join(["received ", tf.strings.as_string(asked), " class ids"]),
                f"expected at most {count}, the number of classes",
            ],
        )
        weights = tf.reshape(tf.transpose(kernel), (-1, *image_shape))
        return {
            "class_names": tf.gather(names, class_ids),
            "weights": tf.gather(weights, class_ids),
        }

    def expected(_: Answers) -> dict[str, Any]:
        return {"weights": kernel.numpy().T.reshape(-1, *image_shape)}

    spec = tf.TensorSpec((None,), tf.int64, "class_ids")
    return ServingSignature("classes", spec, classes, np.arange(count), expected)
