"""Evaluation of a model on a split."""

import numpy as np
import pytest

from kmnist import Dataset, Evaluation, InputError, Run, build_model, evaluate
from kmnist.data import Split


def test_the_metrics_are_those_of_the_predictions(trained: Run) -> None:
    test = trained.dataset.test
    probabilities = trained.model(test.images).numpy()
    metrics, expected = (
        evaluate(trained.model, test),
        Evaluation.from_predictions(test.labels, probabilities),
    )
    assert np.array_equal(metrics.class_ids, expected.class_ids)
    assert np.array_equal(metrics.confusion, expected.confusion)
    assert metrics.cost == pytest.approx(expected.cost)
    assert metrics.accuracy == np.mean(metrics.class_ids == test.labels)


def test_a_split_larger_than_a_batch_is_evaluated_completely(trained: Run) -> None:
    test = trained.dataset.test
    many = Split(np.tile(test.images, (6, 1, 1)), np.tile(test.labels, 6))
    once, metrics = evaluate(trained.model, test), evaluate(trained.model, many)
    assert np.array_equal(metrics.confusion, 6 * once.confusion)
    assert metrics.cost == pytest.approx(once.cost)


def test_an_empty_split_is_rejected(trained: Run) -> None:
    with pytest.raises(InputError, match="no examples"):
        evaluate(trained.model, trained.dataset.test[:0])


def test_a_split_that_does_not_fit_the_model_is_rejected(tiny_dataset: Dataset) -> None:
    with pytest.raises(
        InputError, match="labels are from 0 to 9, but the model has classes from 0 to 3"
    ):
        evaluate(build_model(classes=4), tiny_dataset.test)
    test = tiny_dataset.test
    with pytest.raises(InputError, match="labels are from -1 to 8"):
        evaluate(build_model(), Split(test.images, test.labels.astype(np.int64) - 1))
