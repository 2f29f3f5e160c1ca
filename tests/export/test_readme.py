"""README.md of a version, in the form of Hugging Face."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kmnist.export.readme import readme


def front_matter(page: str) -> Any:
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", page, re.DOTALL)[1])  # type: ignore[index]


def test_the_front_matter_names_task_data_and_accuracy(models: Path, card: dict[str, Any]) -> None:
    page = (models / "1" / "README.md").read_text("utf-8")
    read = front_matter(page)
    assert read["library_name"] == "keras"
    assert read["pipeline_tag"] == "image-classification"
    (model,) = read["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["dataset"]["name"]) == ("kmnist", card["data"]["name"])
    assert result["metrics"] == [{"type": "accuracy", "value": card["test"]["accuracy"]}]


def test_the_page_has_data_settings_scores_and_the_plots_of_the_folder(models: Path) -> None:
    page = (models / "1" / "README.md").read_text("utf-8")
    assert "Softmax regression, 7,850 parameters: images of 28×28 grey pixels → 10 classes" in page
    assert "400 train, 100 validation, 200 test images" in page
    assert "| learning_rate | 0.1 |" in page
    assert len(re.findall(r"^\| \d \| [01]\.\d{4} \| ", page, re.MULTILINE)) == 10
    shown = re.findall(r"!\[.+\]\((.+)\)", page)
    assert sorted(shown) == sorted(path.name for path in (models / "1").glob("*.png"))


@pytest.mark.parametrize("name", ['a"b: c', "손글씨", "x|y`<b>", "a\nb"])
def test_names_with_any_characters_are_shown_as_they_are(card: dict[str, Any], name: str) -> None:
    changed = copy.deepcopy(card)
    changed["data"]["class_names"][0] = changed["data"]["name"] = name
    changed["training"] = None
    page = readme(changed, name, [])
    assert front_matter(page)["model-index"][0]["name"] == name
    row = next(line for line in page.splitlines() if line.startswith("| ") and "class" not in line)
    assert len(re.split(r"(?<!\\)\|", row)) == 5
    assert "Not recorded." in page
    assert "png" not in page.replace("picture.png", "")
