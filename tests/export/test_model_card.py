"""The model card: origin, training and metrics of a version."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from kmnist import Evaluation, Run
from kmnist.export.model_card import model_card


def card_of(
    run: Run,
    evaluation: Evaluation,
    *,
    extent: float | None = None,
    background: float | None = None,
) -> dict[str, Any]:
    return model_card(run.model, run.dataset, evaluation, run, extent=extent, background=background)


def test_the_card_describes_data_model_training_and_test(
    card: dict[str, Any], trained: Run, evaluation: Evaluation
) -> None:
    assert card["data"]["splits"] == {"train": 400, "validation": 100, "test": 200}
    assert card["data"]["sha256"] == trained.dataset.checksums()
    assert card["model"]["weights_sha256"] == trained.weights_digest
    assert card["model"]["parameters"] == 7850
    assert card["training"]["epochs"] == 30
    assert card["training"]["seed"] == 0
    assert len(card["training"]["history"]) == 30
    assert card["test"]["accuracy"] == evaluation.accuracy
    assert np.sum(card["test"]["confusion"]) == 200
    assert card["versions"]["tensorflow"] == tf.__version__


def test_the_recall_of_a_class_without_examples_is_null(
    trained: Run, evaluation: Evaluation
) -> None:
    confusion = evaluation.confusion.copy()
    confusion[3] = 0
    card = card_of(trained, replace(evaluation, confusion=confusion))
    recall = json.loads(json.dumps(card, allow_nan=False))["test"]["recall"]
    assert recall[3] is None
    assert recall[4] == evaluation.recall[4]


def test_the_card_describes_how_pictures_are_read(trained: Run, evaluation: Evaluation) -> None:
    ink = card_of(trained, evaluation, extent=20 / 28, background=0.0)["pictures"]
    assert "scaled to 0.714" in ink
    other = card_of(trained, evaluation, extent=None, background=None)["pictures"]
    assert "no background in common" in other
    light = card_of(trained, evaluation, extent=None, background=1.0)["pictures"]
    assert "its background of 1.00" in light
