"""Evaluation: metrics of labels and probabilities."""

import numpy as np
import pytest

from kmnist import Evaluation

LABELS = np.array([0, 0, 1, 1], np.uint8)
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.9, 0.0], [0.0, 1.0, 0.0]], np.float32
)


def test_metrics_of_a_small_example() -> None:
    evaluation = Evaluation.of(LABELS, PROBABILITIES)
    assert evaluation.examples == 4
    assert evaluation.accuracy == 0.75
    assert evaluation.class_ids.tolist() == [0, 1, 1, 1]
    assert evaluation.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert evaluation.cost == pytest.approx(-np.log([0.7, 0.2, 0.9, 1.0]).mean(), rel=1e-6)


def test_its_repr_is_a_summary() -> None:
    evaluation = Evaluation.of(LABELS, PROBABILITIES)
    assert repr(evaluation) == "Evaluation(accuracy 0.7500, cost 0.5179, 4 examples, 3 classes)"


def test_a_class_without_examples_has_no_recall_and_without_predictions_no_precision() -> None:
    evaluation = Evaluation.of(LABELS, PROBABILITIES)
    assert evaluation.recall[:2].tolist() == [0.5, 1.0]
    assert evaluation.precision[:2].tolist() == [1.0, pytest.approx(2 / 3)]
    assert np.isnan(evaluation.recall[2])
    assert np.isnan(evaluation.precision[2])


def test_a_probability_of_zero_has_a_finite_cost() -> None:
    evaluation = Evaluation.of(np.array([2]), PROBABILITIES[3:])
    assert evaluation.cost == pytest.approx(-np.log(np.finfo(np.float32).tiny))


def test_a_label_out_of_range_is_rejected() -> None:
    with pytest.raises(IndexError):
        Evaluation.of(np.array([0, 1, 2, 3]), PROBABILITIES)
    with pytest.raises(IndexError):
        Evaluation.of(np.array([0, 1, 2, -1]), PROBABILITIES)
