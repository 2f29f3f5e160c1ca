"""Any Keras classifier as a model from uint8 images to probabilities.

Training, evaluation and export work with such a model. It shares its weights with the one that it is
made of. A model that is one already, as those of :func:`kmnist.build_model`, is used as it is.
"""

from textwrap import shorten
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Dataset, Split
from kmnist.errors import InputError

__all__ = ["PIXEL_RANGE", "as_classifier", "classifier_for", "pixel_weights"]

# The range of the pixels of a data set.
PIXEL_RANGE: Final = (0, 255)

# Scale and offset from there to the range that a model expects.
_SCALES: Final[dict[tuple[float, ...], tuple[float, float]]] = {
    PIXEL_RANGE: (1.0, 0.0),
    (0, 1): (1 / 255, 0.0),
    (-1, 1): (1 / 127.5, -1.0),
}

# A model is tried on the first examples.
_EXAMPLES: Final = 100

# The sum of the probabilities of a model that computes in float16 differs from 1 by less.
_TOLERANCE: Final = 0.01

_KEEPING_ORDER: Final = (keras.layers.Flatten, keras.layers.Reshape)


def classifier_for(
    model: keras.Model, dataset: Dataset, *, pixel_range: tuple[float, float] = PIXEL_RANGE
) -> keras.Model:
    """Return :func:`as_classifier` of a model for the images and classes of a data set.

    Raises:
        InputError: As for :func:`as_classifier`; or the number of classes differs.
    """
    classifier = as_classifier(model, dataset.train, pixel_range=pixel_range)
    classes, wanted = classifier.output_shape[-1], len(dataset.class_names)
    if classes != wanted:
        raise InputError(f"the model has {classes} classes, but {dataset.name} has {wanted}")
    return classifier


def as_classifier(
    model: keras.Model, examples: Split, *, pixel_range: tuple[float, float] = PIXEL_RANGE
) -> keras.Model:
    """Return a model from uint8 images to probabilities with the weights of ``model``.

    Args:
        model: Its one input is (n, height, width), (n, height, width, 1) or (n, height * width); its
            one output (n, classes), probabilities or logits. A subclass of ``keras.Model`` is built
            if necessary.
        examples: Images to try the model on; at least one.
        pixel_range: The range of the pixels that the model was trained on: (0, 255) as in the data,
            (0, 1) or (-1, 1).

    Returns:
        A model from uint8 (n, height, width) to float32 (n, classes); ``model`` itself if it is one.

    Raises:
        InputError: The model has another input or output, the output is neither probabilities nor
            logits, or the range is another one.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"the model must be a Keras model, not {type(model).__name__}")
    images = np.ascontiguousarray(examples.images[:_EXAMPLES])
    image_shape = images.shape[1:]
    declared = (getattr(model, "inputs", None) or [keras.Input(image_shape)])[0]
    pixels = keras.Input(image_shape, dtype="uint8", name="images")
    scores, outputs = _call(model, pixels, _scale(pixels, pixel_range), declared.dtype, images)
    shape: tuple[int, ...] = getattr(scores, "shape", ())
    if len(shape) != 2 or shape[1] < 2:
        raise InputError(
            f"the output of the model must be (n, classes), not {shape or type(scores).__name__}: "
            "end it with a Dense layer of a unit per class"
        )
    is_probability = _is_probability(tf.cast(outputs, tf.float32).numpy())
    unchanged = tuple(pixel_range) == PIXEL_RANGE and declared.shape[1:] == image_shape
    if unchanged and is_probability and (declared.dtype, scores.dtype) == ("uint8", "float32"):
        return model
    last = keras.layers.Activation("linear" if is_probability else "softmax", dtype="float32")
    return keras.Model(pixels, last(scores), name=model.name)


def pixel_weights(
    model: keras.Model, *, pixel_range: tuple[float, float] = PIXEL_RANGE
) -> keras.Variable | None:
    """Return the weights of the pixels if the model is one Dense layer on pixels from 0 to 1.

    Args:
        model: A model that :func:`as_classifier` accepts with this ``pixel_range``.
        pixel_range: The range of the pixels that it expects.

    Returns:
        The kernel of the layer, float32 (height * width, classes); None for other models.
    """
    scaling = [keras.layers.Rescaling] if tuple(pixel_range) == PIXEL_RANGE else []
    if not isinstance(model, keras.Sequential) or tuple(pixel_range) not in (PIXEL_RANGE, (0, 1)):
        return None
    layers = [layer for layer in model.layers if not isinstance(layer, _KEEPING_ORDER)]
    dense = [*scaling, keras.layers.Dense]
    if [type(layer) for layer in layers] not in (dense, [*dense, keras.layers.Activation]):
        return None
    if scaling and not np.all(np.equal(layers.pop(0).scale, 1 / 255)):
        return None
    linear = {keras.activations.linear, keras.activations.softmax}
    kernel: keras.Variable = layers[0].kernel
    # A layer in front of Flatten has a weight for each column, not for each pixel.
    is_whole = kernel.shape[0] == np.prod(model.input_shape[1:])
    return kernel if is_whole and linear.issuperset(x.activation for x in layers) else None


def _scale(pixels: Any, pixel_range: tuple[float, float]) -> Any:
    if tuple(pixel_range) not in _SCALES:
        raise InputError(
            f"pixel_range must be (0, 255), (0, 1) or (-1, 1), not {pixel_range}: for another scale, "
            "begin the model with keras.layers.Normalization"
        )
    scale, offset = _SCALES[tuple(pixel_range)]
    return keras.layers.Rescaling(scale, offset, dtype="float32")(pixels)


def _call(
    model: keras.Model, pixels: Any, scaled: Any, dtype: str, images: NDArray[np.uint8]
) -> tuple[Any, Any]:
    """Call a model, symbolically and with images, in the first shape that it takes."""
    height, width = images.shape[1:]
    errors = []
    for shape in ((height, width, 1), (height, width), (height * width,)):
        try:
            scores = model(keras.ops.cast(keras.ops.reshape(scaled, (-1, *shape)), dtype))
            return scores, keras.Model(pixels, scores)(images, training=False)
        except Exception as error:  # noqa: BLE001 - whatever the code of the model raises
            errors.append(_reason(error))
    raise InputError(
        f"the model does not take images of {height}×{width} grey pixels ({errors[0]}): begin it "
        f"with keras.Input(({height}, {width}, 1))"
    )


def _reason(error: Exception) -> str:
    # In bold, Keras quotes the cause among what it was called with.
    _, _, cause = str(error).rpartition("\033[1m")
    return shorten(cause.partition("\033[0m")[0], 200, placeholder=" …")


def _is_probability(outputs: NDArray[np.float32]) -> bool:
    """Return whether the outputs are probabilities rather than logits."""
    if not np.isfinite(outputs).all():
        raise InputError("the output of the model is not finite: its training has diverged")
    if outputs.min() < 0 or outputs.max() > 1 + _TOLERANCE or not outputs.any():
        return False
    if np.abs(outputs.sum(axis=1) - 1).max() <= _TOLERANCE:
        return True
    raise InputError(
        "the outputs of the model are from 0 to 1, but their sum is not 1, as after a sigmoid: end it "
        "with softmax, or without an activation"
    )
