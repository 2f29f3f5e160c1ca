"""Evaluate a model on a split."""

from typing import Final

import keras
import numpy as np
import tensorflow as tf

from kmnist.data import Split
from kmnist.errors import InputError
from kmnist.metrics import Evaluation
from kmnist.training.classifier import PIXEL_RANGE, as_classifier

__all__ = ["evaluate", "measure"]

# Bounds the memory of the images as float32.
_BATCH_SIZE: Final = 1_000


def evaluate(
    model: keras.Model, split: Split, *, pixel_range: tuple[float, float] = PIXEL_RANGE
) -> Evaluation:
    """Evaluate a model on a split.

    Args:
        model: A Keras classifier of images; see
            :func:`kmnist.training.classifier.as_classifier`.
        split: The examples; at least one.
        pixel_range: The range of the pixels that the model was trained on, as for
            :func:`kmnist.export_model`.

    Returns:
        The metrics: cost, accuracy, precision and recall of each class, and confusion matrix.

    Raises:
        InputError: The split is empty, or does not fit the model, or the model is no classifier of
            images.

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
        raise InputError("the split to evaluate on has no examples")
    classifier = as_classifier(model, split, pixel_range=pixel_range)
    classes = classifier.output_shape[-1]
    if not 0 <= split.labels.min() <= split.labels.max() < classes:
        raise InputError(
            f"the labels are from {split.labels.min()} to {split.labels.max()}, but the model has "
            f"classes from 0 to {classes - 1}"
        )
    return measure(classifier, split)


def measure(classifier: keras.Model, split: Split) -> Evaluation:
    """Evaluate a model of :func:`kmnist.training.classifier.as_classifier` on a split that fits it."""
    probabilities = np.empty((len(split), classifier.output_shape[-1]), np.float32)
    for start in range(0, len(split), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        images = np.ascontiguousarray(split.images[batch])
        probabilities[batch] = _predict(classifier, images).numpy()
    return Evaluation.from_predictions(split.labels, probabilities)


@tf.function(autograph=False, reduce_retracing=True)
def _predict(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=False)
