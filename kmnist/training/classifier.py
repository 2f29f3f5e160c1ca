"""Any Keras classifier as a model from uint8 images to probabilities.

Training, evaluation and export work with such a model. It shares its weights with the one that it is
made of. A model that is one already, as those of :func:`kmnist.build_model`, is used as it is.
"""

from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Dataset, Split
from kmnist.errors import InputError

__all__ = ["as_classifier", "classifier_for", "pixel_weights"]

# A model is tried on the first examples.
_EXAMPLES: Final = 100

# The sum of the probabilities of a model that computes in float16 differs from 1 by less.
_TOLERANCE: Final = 0.01

_KEEPING_ORDER: Final = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape)


def classifier_for(model: keras.Model, dataset: Dataset, *, trained: bool = True) -> keras.Model:
    """Return :func:`as_classifier` of a model for the images and classes of a data set.

    Raises:
        InputError: As for :func:`as_classifier`; or the number of classes differs.
    """
    if not isinstance(model, keras.Model) or not isinstance(dataset, Dataset):
        raise InputError(
            f"received {type(model).__name__} and {type(dataset).__name__}; expected a Keras model "
            "and a Dataset"
        )
    classifier = as_classifier(model, dataset.train, trained=trained)
    classes = classifier.output_shape[-1]
    if classes != len(dataset.class_names):
        raise InputError(
            f"received a model of {classes} classes; {dataset.name} has "
            f"{len(dataset.class_names)} classes; build the model for them"
        )
    return classifier


def as_classifier(model: keras.Model, examples: Split, *, trained: bool = True) -> keras.Model:
    """Return a model from uint8 images to probabilities with the weights of ``model``.

    Args:
        model: Its one input is (n, height, width), (n, height, width, 1) or (n, height * width),
            pixels from 0 to 255; its one output (n, classes), probabilities or logits. A subclass of
            ``keras.Model`` is built if necessary.
        examples: Labelled images to try the model on; at least one.
        trained: Whether to refuse a model that was trained on pixels from 0 to 1.

    Returns:
        A model from uint8 (n, height, width) to float32 (n, classes); ``model`` itself if it is one.

    Raises:
        InputError: The model has another input or output, the output is neither probabilities nor
            logits, two calls give different outputs, or it was trained on pixels from 0 to 1.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"received {type(model).__name__}; expected a Keras model")
    examples = examples[:_EXAMPLES]
    shape, dtype = _input_of(model, examples.images)
    images = tf.constant(np.ascontiguousarray(examples.images).reshape(-1, *shape))
    outputs, again = (_outputs(model, tf.cast(images, dtype)) for _ in range(2))
    if not np.allclose(outputs, again, rtol=1e-4, atol=1e-5):
        raise InputError(
            "received a model that is not deterministic: outputs for equal images differ by "
            f"{np.abs(outputs - again).max():.2g}; expected equal outputs; let layers be random only "
            "if they are called with training=True"
        )
    is_probability = _is_probability(outputs)
    if trained and tf.as_dtype(dtype).is_floating:
        scaled = _outputs(model, tf.cast(images / 255, dtype))
        _check_scale(outputs, scaled, examples.labels, is_probability=is_probability)
    image_shape = examples.images.shape[1:]
    if shape == image_shape and dtype == "uint8" and is_probability and _is_float32(model):
        return model
    pixels = keras.Input(image_shape, dtype="uint8", name="images")
    scores = model(keras.ops.cast(keras.ops.reshape(pixels, (-1, *shape)), dtype))
    last = keras.layers.Activation("linear" if is_probability else "softmax", dtype="float32")
    return keras.Model(pixels, last(scores), name=model.name)


def pixel_weights(model: keras.Model) -> keras.Variable | None:
    """Return the weights of the pixels if the model is one Dense layer on pixels from 0 to 1.

    Args:
        model: A model that :func:`as_classifier` accepts.

    Returns:
        The kernel of the layer, float32 (height * width, classes); None for other models.
    """
    layers = [layer for layer in model.layers if not isinstance(layer, _KEEPING_ORDER)]
    kinds = [type(layer) for layer in layers]
    if kinds[:2] != [keras.layers.Rescaling, keras.layers.Dense]:
        return None
    scaling, dense, *after = layers
    activations = [getattr(layer, "activation", None) for layer in (dense, *after)]
    linear = {keras.activations.linear, keras.activations.softmax}
    if not np.all(np.equal(scaling.scale, 1 / 255)) or not linear.issuperset(activations):
        return None
    return dense.kernel


def _input_of(model: keras.Model, images: NDArray[np.uint8]) -> tuple[tuple[int, ...], str]:
    """Return the shape of an image and the dtype that the model expects."""
    height, width = images.shape[1:]
    shapes: list[tuple[int, ...]] = [(height, width, 1), (height, width), (height * width,)]
    if model.built and getattr(model, "inputs", None):
        received = ", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in model.inputs)
        if len(model.inputs) == 1 and model.inputs[0].dtype != "string":
            tensor = model.inputs[0]
            for shape in shapes:
                if len(shape) == len(tensor.shape) - 1 and all(
                    size in (None, wanted)
                    for size, wanted in zip(tensor.shape[1:], shape, strict=True)
                ):
                    return shape, tensor.dtype
    else:
        failures = []
        for shape in shapes:
            try:
                model(tf.zeros((1, *shape)), training=False)
            except Exception as error:  # noqa: BLE001 - whatever the code of the model raises
                failures.append(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
            else:
                return shape, "float32"
        received = f"which fails for them ({failures[0]})"
    raise InputError(
        f"received a model of the input {received} for images of {(height, width)} pixels; expected "
        f"uint8 or float32 {(None, height, width)} or {(None, height, width, 1)}, one channel with "
        f"pixels from 0 to 255; begin the model with keras.Input({(height, width, 1)})"
    )


def _outputs(model: keras.Model, images: tf.Tensor) -> NDArray[Any]:
    outputs = model(images, training=False)
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] < 2 or not outputs.dtype.is_floating:
        raise InputError(
            f"received a model of the output {type(outputs).__name__ if shape is None else shape}; "
            "expected one, (n, classes), probabilities or logits; end the model with a Dense layer of "
            "a unit per class"
        )
    values: NDArray[Any] = tf.cast(outputs, tf.float32).numpy()
    if not np.isfinite(values).all():
        raise InputError(
            "received a model whose output is not finite; expected probabilities or logits; correct "
            "its weights"
        )
    return values


def _is_probability(outputs: NDArray[np.float32]) -> bool:
    """Return whether the outputs are probabilities rather than logits."""
    if outputs.min() < 0 or outputs.max() > 1 + _TOLERANCE or not outputs.any():
        return False
    sums = outputs.sum(axis=1)
    if np.abs(sums - 1).max() <= _TOLERANCE:
        return True
    raise InputError(
        f"received a model whose outputs are from 0 to 1, with sums from {sums.min():.2f} to "
        f"{sums.max():.2f}, such as those of sigmoid; expected probabilities, with a sum of 1, or "
        "logits; end the model with softmax, or without an activation"
    )


def _check_scale(
    outputs: NDArray[np.float32],
    scaled: NDArray[np.float32],
    labels: NDArray[Any],
    *,
    is_probability: bool,
) -> None:
    """Refuse a model that gives better answers to pixels from 0 to 1 than from 0 to 255."""
    if not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
        return  # the caller checks the labels of all examples
    costs = []
    for values in (outputs, scaled):
        logs = np.log(np.maximum(values, 1e-30)) if is_probability else values
        of_label = logs[np.arange(len(labels)), labels]
        costs.append((np.logaddexp.reduce(logs, axis=1) - of_label).mean())
    # Twice: two models that have learned nothing differ by less.
    if costs[0] > 2 * costs[1]:
        raise InputError(
            f"received a model that expects pixels from 0 to 1: its cost is {costs[0]:.2g} for pixels "
            f"from 0 to 255 and {costs[1]:.2g} for those; expected a model that scales them itself; "
            "use keras.Sequential([keras.Input(...), keras.layers.Rescaling(1 / 255), model])"
        )


def _is_float32(model: keras.Model) -> bool:
    return str(model.outputs[0].dtype) == "float32"
