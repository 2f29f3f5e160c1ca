"""Metrics: :class:`Epoch` of training, :class:`Evaluation` and :class:`Comparison` of models.

Needs NumPy only, so that plots and the answers of a server can be evaluated without TensorFlow.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "Epoch", "Evaluation"]


@dataclass(frozen=True)
class Epoch:
    """Metrics of one epoch of training.

    Attributes:
        epoch: The number of the epoch, from 1.
        cost: Mean cross-entropy of the training examples, in nats. Each example counts with the
            weights that its batch started from.
        accuracy: Fraction of the training examples classified correctly, with the same weights.
        validation_cost: Mean cross-entropy of the validation split after the epoch, in nats; None
            if the split is empty.
        validation_accuracy: Fraction of the validation split classified correctly after the
            epoch; None if the split is empty.
        seconds: Wall time of the training steps, without the validation.
    """

    epoch: int
    cost: float
    accuracy: float
    validation_cost: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on a split.

    Attributes:
        cost: Mean cross-entropy, in nats.
        class_ids: int64 (n,), the predicted class of each example.
        confusion: int64 (classes, classes), the number of examples of class *row* that were
            predicted to be of class *column*.
    """

    cost: float
    class_ids: NDArray[np.int64]
    confusion: NDArray[np.int64]

    def __repr__(self) -> str:
        return (
            f"Evaluation(accuracy {self.accuracy:.4f}, cost {self.cost:.4f}, "
            f"{self.examples:,} examples, {len(self.confusion)} classes)"
        )

    @property
    def examples(self) -> int:
        """Number of examples in the split."""
        return len(self.class_ids)

    @property
    def accuracy(self) -> float:
        """Fraction of the examples classified correctly."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def precision(self) -> NDArray[np.float64]:
        """Correct fraction of the predictions of each class, float64 (classes,); NaN if none."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Correct fraction of the examples of each class, float64 (classes,); NaN if none."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=1))

    @classmethod
    def from_predictions(
        cls, labels: NDArray[Any], probabilities: NDArray[np.float32]
    ) -> "Evaluation":
        """Compute the metrics of predictions.

        Args:
            labels: Integers (n,), the true classes; n ≥ 1.
            probabilities: float32 (n, classes), the predicted probability of each class.

        Returns:
            The metrics. The predicted class of an example is its most probable one, the first of
            several. A probability of 0 costs as much as the smallest normal float32.

        Raises:
            IndexError: A label is negative, or not below the number of classes.

        Example:
            >>> labels = np.array([0, 1, 1, 1])
            >>> probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
            >>> evaluation = Evaluation.from_predictions(labels, probabilities.astype(np.float32))
            >>> evaluation.accuracy
            0.75
            >>> evaluation.confusion
            array([[1, 0],
                   [1, 2]])
        """
        examples, classes = probabilities.shape
        if labels.min() < 0:  # NumPy would count it from the end
            raise IndexError(f"label {labels.min()} is negative")
        class_ids = probabilities.argmax(axis=1)
        of_label = probabilities[np.arange(examples), labels].astype(np.float64)
        pairs = labels.astype(np.int64) * classes + class_ids
        confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        cost = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()
        return cls(float(cost), class_ids, confusion)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same examples.

    Attributes:
        examples: int64 (classes,), the number of examples of each class.
        right: int64 (2, classes), how many of them the first and the second model classify
            correctly.
        alone: int64 (2, classes), how many of them only the first, and only the second does.
    """

    examples: NDArray[np.int64]
    right: NDArray[np.int64]
    alone: NDArray[np.int64]

    @property
    def p_value(self) -> float:
        """McNemar's exact p: the probability of a difference at least as large between equal models.

        If two models are equally good, each example that only one of them classifies correctly is as
        likely to be the first's as the second's. The p is that of the two-sided binomial test.
        """
        one, other = self.alone.sum(axis=1).tolist()
        n = one + other
        # The logarithm of a binomial coefficient, because the coefficient may exceed any float.
        tail = sum(
            math.exp(
                math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
            )
            for k in range(min(one, other) + 1)
        )
        return min(1.0, 2 * tail)

    @classmethod
    def from_predictions(
        cls, labels: NDArray[Any], predicted: NDArray[np.int64], classes: int
    ) -> "Comparison":
        """Compare the predictions of two models.

        Args:
            labels: Integers (n,), the true classes, from 0 to ``classes`` - 1.
            predicted: int64 (2, n), the classes that each model predicts.
            classes: The number of classes.

        Example:
            >>> labels = np.array([0, 0, 1, 1, 1])
            >>> predicted = np.array([[0, 0, 0, 0, 1], [0, 1, 1, 1, 1]])
            >>> comparison = Comparison.from_predictions(labels, predicted, 2)
            >>> comparison.alone
            array([[1, 0],
                   [0, 2]])
            >>> comparison.p_value
            1.0
        """
        right = predicted == labels

        def count(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(labels[chosen], minlength=classes)

        return cls(
            count(np.ones(len(labels), bool)),
            np.array([count(right[0]), count(right[1])]),
            np.array([count(right[0] & ~right[1]), count(right[1] & ~right[0])]),
        )


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
