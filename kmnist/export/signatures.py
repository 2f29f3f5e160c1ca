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

A version has ``classes`` if its model is one Dense layer on the pixels. All others return
``probabilities`` float32 (n, classes), ``class_ids`` int64 (n,) and ``class_names`` string (n,).
``explain`` also returns ``images`` uint8 (n, height, width), the pictures as the model sees them.
``classes`` returns ``class_names`` string (n,) and ``weights`` float32 (n, height, width), the
contribution of each white pixel to the logit of the class; it takes at most as many ids as there
are classes. A request has at most ``MAX_IMAGES`` images; the limits of pictures are in
:mod:`kmnist.pictures.limits`. The answer to an image or to its pixels is smaller than the request.

Images are scaled and centred in the graph, so that all clients get the same result. Servers do not
enforce the shapes of a signature, so the functions do. Every output has one row per row of the
input; otherwise a server that batches requests could not split the answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Dataset
from kmnist.export.compact import UNOPTIMIZED
from kmnist.pictures.decode import read_pictures
from kmnist.pictures.limits import limit_rows
from kmnist.pictures.measure import background_tone, ink_extent

__all__ = ["MAX_IMAGES", "Endpoint", "build_endpoints", "reading_graph"]

# Of one request. More than a message of gRPC holds by default, but not more than one can claim.
MAX_IMAGES: Final = 100_000

# The number of training images that an exported model is verified with.
_SAMPLES: Final = 20


@dataclass(frozen=True)
class Endpoint:
    """A signature to export, with an example to verify it and to warm up a server with.

    Attributes:
        name: The name that requests use.
        spec: Dtype, shape and name of the one input.
        function: Maps the input to the outputs by name. Raises InvalidArgumentError for an input of
            another shape, pixels of another length, or bytes that are not a picture.
        sample: A valid input. Its first row is the warm-up request.
        expected: Maps the answers of the exported signatures to their samples, by name, to the outputs
            of the trained model for this one's.
    """

    name: str
    spec: tf.TensorSpec
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    sample: NDArray[Any]
    expected: Callable[[Mapping[str, Mapping[str, tf.Tensor]]], dict[str, tf.Tensor]]


def reading_graph(dataset: Dataset) -> Callable[[tf.Tensor], tf.Tensor]:
    """Trace the reading of pictures as images like those of a data set.

    It takes half a second the first time, which a caller can spend in advance, beside the training.
    """
    images = dataset.train.images
    return _trace(dataset.image_shape, ink_extent(images), background_tone(images))


@lru_cache(maxsize=4)
def _trace(
    image_shape: tuple[int, int], extent: float | None, background: float | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    strings = tf.TensorSpec((None,), tf.string)

    @tf.function(input_signature=[strings], experimental_attributes=UNOPTIMIZED)
    def read(pictures: tf.Tensor) -> tf.Tensor:
        return read_pictures(pictures, image_shape, extent=extent, background=background)

    traced: Callable[[tf.Tensor], tf.Tensor] = read.get_concrete_function()
    return traced


def build_endpoints(
    model: keras.Model, dataset: Dataset, kernel: keras.Variable | None
) -> list[Endpoint]:
    """Build the signatures of a model.

    Args:
        model: Maps uint8 (n, height, width) to probabilities float32 (n, classes).
        dataset: The data set, for the names of the classes, the reading of pictures and the samples.
        kernel: float32 (height * width, classes), the weights of the pixels; None if the model is
            not one Dense layer on them.

    Returns:
        The signatures, ``serving_default`` first.
    """
    height, width = dataset.image_shape
    names = tf.constant(dataset.class_names)

    def images(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.ensure_shape(images, (None, height, width))
        images = limit_rows(images, MAX_IMAGES, "images")
        probabilities = model(images, training=False)
        class_ids = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "class_ids": class_ids,
            "class_names": tf.gather(names, class_ids),
        }

    def pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = limit_rows(tf.ensure_shape(pixels, (None,)), MAX_IMAGES, "images")
        fits = tf.debugging.assert_equal(
            tf.strings.length(pixels),
            height * width,
            f"each string of pixels has to be {height * width} bytes: {height} rows of {width}, "
            "one byte a pixel",
        )
        with tf.control_dependencies([fits]):
            pixels = tf.identity(pixels)
        # With fixed_length the shape is known even if there are no strings.
        values = tf.io.decode_raw(pixels, tf.uint8, fixed_length=height * width)
        return images(tf.reshape(values, (-1, height, width)))

    # `pictures` and `explain` share one graph, so it is traced and stored only once.
    read = reading_graph(dataset)

    def pictures(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return images(read(tf.ensure_shape(pictures, (None,))))

    def explain(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = read(tf.ensure_shape(pictures, (None,)))
        return {**images(seen), "images": seen}

    samples = np.ascontiguousarray(dataset.train.images[:_SAMPLES])
    strings = tf.TensorSpec((None,), tf.string, "pictures")
    raw = np.array([image.tobytes() for image in samples], object)
    png = np.array([tf.io.encode_png(image[..., None]).numpy() for image in samples], object)
    images_spec = tf.TensorSpec((None, height, width), tf.uint8, "images")

    def of_samples(_: object) -> dict[str, tf.Tensor]:
        return images(samples)

    def of_pictures(answers: Mapping[str, Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        # Reading them again, outside of the exported graph, takes longer than all other checks.
        return images(answers["explain"]["images"])

    endpoints = [
        Endpoint("serving_default", images_spec, images, samples, of_samples),
        Endpoint("pixels", tf.TensorSpec((None,), tf.string, "pixels"), pixels, raw, of_samples),
        Endpoint("pictures", strings, pictures, png, of_pictures),
        Endpoint("explain", strings, explain, png, of_pictures),
    ]
    if kernel is not None:
        endpoints.append(_classes_endpoint(kernel, names, (height, width)))
    return endpoints


def _classes_endpoint(
    kernel: keras.Variable, names: tf.Tensor, image_shape: tuple[int, int]
) -> Endpoint:
    count = len(names)

    def classes(class_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        # Each id of a few bytes is answered with the weights of a whole image.
        class_ids = limit_rows(tf.ensure_shape(class_ids, (None,)), count, "class ids")
        weights = tf.reshape(tf.transpose(kernel), (-1, *image_shape))
        return {
            "class_names": tf.gather(names, class_ids),
            "weights": tf.gather(weights, class_ids),
        }

    spec, ids = tf.TensorSpec((None,), tf.int64, "class_ids"), np.arange(count)
    return Endpoint("classes", spec, classes, ids, lambda _: classes(ids))
