"""Evaluate a model on a split."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.errors import InputError
from kmnist.metrics import Evaluation
from kmnist.training.classifier import PIXEL_RANGE, as_classifier

if TYPE_CHECKING:
    from kmnist.training.workers import Workers

__all__ = ["evaluate", "measure", "measure_parts"]

# Bounds the memory of the images as float32.
_BATCH_SIZE: Final = 1_000


def evaluate(
    model: keras.Model,
    split: Split,
    *,
    workers: "Workers | None" = None,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
) -> Evaluation:
    """Evaluate a model on a split.

    Args:
        model: A Keras classifier of images; see
            :func:`kmnist.training.classifier.as_classifier`.
        split: The examples; at least one.
        workers: The workers that share out the work, from :func:`kmnist.training.workers.connect`;
            each has to call this, with the same model and split.
        pixel_range: The range of the pixels that the model was trained on, as for
            :func:`kmnist.export_model`.

    Returns:
        The metrics: cost, accuracy, precision and recall of each class, and confusion matrix. They
        are the same with any number of workers.

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
        raise InputError("received an empty split; expected at least one example")
    classifier = as_classifier(model, split, pixel_range=pixel_range)
    classes = classifier.output_shape[-1]
    if not 0 <= split.labels.min() <= split.labels.max() < classes:
        raise InputError(
            f"received labels from {split.labels.min()} to {split.labels.max()}; the model expects 0 "
            f"to {classes - 1}; evaluate it on data like that of its training"
        )
    return measure(classifier, split, workers)


def measure(classifier: keras.Model, split: Split, workers: "Workers | None" = None) -> Evaluation:
    """Evaluate a model of :func:`kmnist.training.classifier.as_classifier` on a split that fits it."""
    starts = range(0, len(split), _BATCH_SIZE)
    if workers is None:
        return Evaluation.from_predictions(split.labels, _probabilities(classifier, split, starts))
    own = _probabilities(classifier, split, starts[workers.index :: workers.count])
    return Evaluation.from_predictions(split.labels, workers.sum(own))


def measure_parts(classifier: keras.Model, part: Split, workers: "Workers") -> Evaluation:
    """Evaluate such a model on the validation parts of all workers.

    Args:
        classifier: The model, the same on all workers.
        part: The part of this worker; of all parts, at least one has an example.
        workers: The workers.

    Returns:
        The metrics of all parts together.
    """
    sizes = [validation for _, validation in workers.parts or ()]
    first = sum(sizes[: workers.index])
    # The last column is the label, exact as a float32.
    table = np.zeros((sum(sizes), classifier.output_shape[-1] + 1), np.float32)
    rows = table[first : first + len(part)]
    rows[:, :-1] = _probabilities(classifier, part, range(0, len(part), _BATCH_SIZE))
    rows[:, -1] = part.labels
    table = workers.sum(table)
    return Evaluation.from_predictions(table[:, -1].astype(np.int64), table[:, :-1])


def _probabilities(
    classifier: keras.Model, split: Split, starts: Iterable[int]
) -> NDArray[np.float32]:
    """Predict the batches that begin at ``starts``; the other rows are zero."""
    probabilities = np.zeros((len(split), classifier.output_shape[-1]), np.float32)
    for start in starts:
        batch = slice(start, start + _BATCH_SIZE)
        images = np.ascontiguousarray(split.images[batch])
        probabilities[batch] = _predict(classifier, images).numpy()
    return probabilities


@tf.function(autograph=False, reduce_retracing=True)
def _predict(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=False)
