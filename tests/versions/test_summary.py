"""The essentials of a model card."""

import json
from pathlib import Path
from typing import Any

import pytest

from kmnist.versions import Summary, read_summary


def test_the_summary_is_that_of_the_card(models: Path) -> None:
    card = json.loads((models / "1" / "model_card.json").read_text())
    accuracy, name = card["test"]["accuracy"], card["data"]["name"]
    assert read_summary(models / "1") == Summary(accuracy, name, 30)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, Summary(None, None, None)),
        (b"\xff", Summary(None, None, None)),
        (b"[1]", Summary(None, None, None)),
        (b'{"test": [], "data": {"name": 3}}', Summary(None, None, None)),
        (b'{"test": {"accuracy": true}, "training": {"epochs": 1.5}}', Summary(None, None, None)),
        (b'{"test": {"accuracy": 1}, "training": null}', Summary(1.0, None, None)),
    ],
)
def test_what_a_card_lacks_is_none(content: bytes | None, expected: Any, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model_card.json").write_bytes(content)
    assert read_summary(tmp_path) == expected
