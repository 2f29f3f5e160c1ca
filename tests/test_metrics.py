"""Evaluation: metrics of labels and probabilities."""

import math

import numpy as np
import pytest

from kmnist import Evaluation
from kmnist.metrics import Comparison

LABELS = np.array([0, 0, 1, 1], np.uint8)
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.9, 0.0], [0.0, 1.0, 0.0]], np.float32
)


def test_metrics_of_a_small_example() -> None:
    evaluation = Evaluation.from_predictions(LABELS, PROBABILITIES)
    assert evaluation.examples == 4
    assert evaluation.accuracy == 0.75
    assert evaluation.class_ids.tolist() == [0, 1, 1, 1]
    assert evaluation.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert evaluation.cost == pytest.approx(-np.log([0.7, 0.2, 0.9, 1.0]).mean(), rel=1e-6)


def test_its_repr_is_a_summary() -> None:
    evaluation = Evaluation.from_predictions(LABELS, PROBABILITIES)
    assert repr(evaluation) == "Evaluation(accuracy 0.7500, cost 0.5179, 4 examples, 3 classes)"


def test_a_class_without_examples_has_no_recall_and_without_predictions_no_precision() -> None:
    evaluation = Evaluation.from_predictions(LABELS, PROBABILITIES)
    assert evaluation.recall[:2].tolist() == [0.5, 1.0]
    assert evaluation.precision[:2].tolist() == [1.0, pytest.approx(2 / 3)]
    assert np.isnan(evaluation.recall[2])
    assert np.isnan(evaluation.precision[2])


def test_a_probability_of_zero_has_a_finite_cost() -> None:
    evaluation = Evaluation.from_predictions(np.array([2]), PROBABILITIES[3:])
    assert evaluation.cost == pytest.approx(-np.log(np.finfo(np.float32).tiny))


def test_a_label_out_of_range_is_rejected() -> None:
    with pytest.raises(IndexError):
        Evaluation.from_predictions(np.array([0, 1, 2, 3]), PROBABILITIES)
    with pytest.raises(IndexError):
        Evaluation.from_predictions(np.array([0, 1, 2, -1]), PROBABILITIES)


def test_mcnemars_p_is_that_of_the_exact_binomial_test() -> None:
    def p_value(one: int, other: int) -> float:
        labels = np.zeros(one + other, np.int64)
        first = np.array([0] * one + [1] * other)
        return Comparison.from_predictions(labels, np.array([first, 1 - first]), 2).p_value

    assert p_value(0, 0) == 1
    assert p_value(5, 5) == 1
    assert p_value(0, 10) == pytest.approx(2 / 2**10)
    exact = 2 * sum(math.comb(120, k) for k in range(41)) / 2**120
    assert p_value(40, 80) == p_value(80, 40) == pytest.approx(exact)
    assert p_value(1000, 9000) == 0  # too small for a float, and no overflow


def test_a_comparison_counts_what_each_model_alone_gets_right() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    predicted = np.array([[0, 1, 1, 0, 2], [0, 0, 1, 2, 2]])
    comparison = Comparison.from_predictions(labels, predicted, 4)
    assert comparison.examples.tolist() == [2, 2, 1, 0]
    assert comparison.right.tolist() == [[1, 1, 1, 0], [2, 1, 1, 0]]
    assert comparison.alone.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
