"""Evaluate a model on a split."""

from typing import Final

import keras
import numpy as np
import tensorflow as tf

from kmnist.data import Split
from kmnist.errors import InputError
from kmnist.metrics import Evaluation

__all__ = ["evaluate"]

# Bounds the memory of the images as float32.
_BATCH_SIZE: Final = 1_000


def evaluate(model: keras.Sequential, split: Split) -> Evaluation:
    """Evaluate a model on a split.

    Args:
        model: A model from uint8 (n, height, width) to probabilities, float32 (n, classes).
        split: The examples; at least one.

    Returns:
        The metrics: cost, accuracy, precision and recall of each class, and confusion matrix.

    Raises:
        InputError: The split is empty, or does not fit the model.

    Example:
        >>> dataset = load_dataset("digits", validation_size=100)
        >>> run = train(build_model(), dataset, epochs=30)
        >>> evaluation = evaluate(run.model, dataset.test)
        >>> evaluation.examples
        200
        >>> 0.75 < evaluation.accuracy < 0.90
        True
    """
    if not len(split):
        raise InputError("received an empty split; expected at least one example")
    classes = model.output_shape[-1]
    if (
        split.images.shape[1:] != model.input_shape[1:]
        or not 0 <= split.labels.min() <= split.labels.max() < classes
    ):
        raise InputError(
            f"received images of {split.images.shape[1:]} pixels with labels from "
            f"{split.labels.min()} to {split.labels.max()}; the model expects {model.input_shape[1:]} "
            f"and 0 to {classes - 1}; evaluate it on data like that of its training"
        )
    probabilities = [
        _predict(model, np.ascontiguousarray(split.images[start : start + _BATCH_SIZE])).numpy()
        for start in range(0, len(split), _BATCH_SIZE)
    ]
    return Evaluation.of(split.labels, np.concatenate(probabilities))


@tf.function(autograph=False, reduce_retracing=True)
def _predict(model: keras.Sequential, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=False)
