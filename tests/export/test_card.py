"""The model card of a version, as JSON and as a page in the form of Hugging Face."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from kmnist import Evaluation, Run
from kmnist.export.card import model_card, write_card


def front_matter(page: str) -> Any:
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", page, re.DOTALL)[1])  # type: ignore[index]


def test_the_card_describes_data_model_training_and_test(
    card: dict[str, Any], trained: Run, evaluation: Evaluation
) -> None:
    assert card["data"]["splits"] == {"train": 400, "validation": 100, "test": 200}
    assert card["data"]["sha256"] == trained.dataset.checksums()
    assert "ink on black: its longer side becomes 0.71" in card["data"]["pictures"]
    assert card["model"]["weights_sha256"] == trained.weights_digest
    assert card["model"]["layers"] == "Rescaling, Flatten, Dense"
    assert (card["model"]["parameters"], card["model"]["pixel_range"]) == (7850, "0 to 255")
    assert (card["training"]["epochs"], len(card["training"]["history"])) == (30, 30)
    assert card["test"]["accuracy"] == evaluation.accuracy
    assert np.sum(card["test"]["confusion"]) == 200
    assert card["versions"]["tensorflow"] == tf.__version__


def test_the_recall_of_a_class_without_examples_is_null(
    trained: Run, evaluation: Evaluation
) -> None:
    confusion = evaluation.confusion.copy()
    confusion[3] = 0
    evaluation = replace(evaluation, confusion=confusion)
    card = model_card(trained.model, trained.dataset, evaluation, None, pixel_range=(0, 1))
    recall = json.loads(json.dumps(card, allow_nan=False))["test"]["recall"]
    assert recall[3] is None
    assert recall[4] == evaluation.recall[4]
    assert (card["training"], card["model"]["pixel_range"]) == (None, "0 to 1")


def test_the_page_has_the_facts_of_the_card_and_the_plots_of_the_folder(
    models: Path, card: dict[str, Any]
) -> None:
    page = (models / "1" / "README.md").read_text("utf-8")
    (model,) = front_matter(page)["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["name"]) == ("kmnist", "tiny")
    assert front_matter(page)["license"] == "unknown"
    assert re.findall("^## (Intended use|Limits|License)$", page, re.MULTILINE)
    assert result["metrics"] == [{"type": "accuracy", "value": card["test"]["accuracy"]}]
    for row in ("| train | 400 |", "| parameters | 7850 |", r"| learning\_rate | 0.1 |"):
        assert row in page
    assert len(re.findall(r"^\| \d \| [01]\.?\d* \| ", page, re.MULTILINE)) == 10
    shown = re.findall(r"!\[.+\]\((.+)\)", page)
    assert shown == ["confusion.png", "samples.png", "training.png", "weights.png"]


@pytest.mark.parametrize("name", ['a"b: c', "손글씨", "x|y`<b>", "a\nb"])
def test_names_with_any_characters_are_shown_as_they_are(
    card: dict[str, Any], name: str, tmp_path: Path
) -> None:
    changed = copy.deepcopy(card)
    changed["data"]["class_names"][0] = changed["data"]["name"] = name
    write_card(tmp_path, changed, name)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert front_matter(page)["model-index"][0]["name"] == name
    row = next(line for line in page.splitlines() if line.startswith("| name |"))
    assert len(re.split(r"(?<!\\)\|", row)) == 4
