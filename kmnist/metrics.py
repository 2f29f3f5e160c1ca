"""What training and evaluation come to, in numbers: :class:`Epoch` and :class:`Evaluation`.

Apart from the modules that make them, because a server's answers are judged, and plots drawn,
without TensorFlow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Epoch", "Evaluation"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        epoch: Its number, from 1.
        cost: Mean cross-entropy over the training examples as they were met, in nats.
        accuracy: Fraction of them that the model, still learning, got right.
        validation_cost: Mean cross-entropy over the validation split after the epoch; None if
            that split is empty.
        validation_accuracy: The fraction right there; None likewise.
        seconds: Wall time of its training steps, without the validation.
    """

    epoch: int
    cost: float
    accuracy: float
    validation_cost: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a split.

    Attributes:
        cost: Mean cross-entropy, in nats.
        class_ids: int64 (n,): the class that each example was taken for.
        confusion: int64 (classes, classes): how many examples of class *row* were taken for
            class *column*.
    """

    cost: float
    class_ids: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def examples(self) -> int:
        """How many examples were judged."""
        return len(self.class_ids)

    @property
    def accuracy(self) -> float:
        """The fraction of the examples that were given their own class."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def precision(self) -> NDArray[np.float64]:
        """float64 (classes,): of what was taken for a class, the fraction that is; NaN if none."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """float64 (classes,): of a class, the fraction that was taken for it; NaN if none."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=1))

    @classmethod
    def of(cls, labels: NDArray[Any], probabilities: NDArray[np.float32]) -> "Evaluation":
        """From labels, integers (n,), and the probabilities given, float32 (n, classes)."""
        examples, classes = probabilities.shape
        class_ids = probabilities.argmax(axis=1)
        pairs = labels.astype(np.int64) * classes + class_ids
        confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        of_label = probabilities[np.arange(examples), labels].astype(np.float64)
        # A probability too small for float32 is 0; the smallest normal float32 bounds its cost.
        cost = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()
        return cls(float(cost), class_ids, confusion)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
