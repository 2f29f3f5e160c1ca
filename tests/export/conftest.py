"""Fixtures of the tests of the export."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def exported(models: Path) -> Any:
    """The signatures of the exported version, loaded again, by name."""
    return tf.saved_model.load(str(models / "1")).signatures


@pytest.fixture
def card(models: Path) -> dict[str, Any]:
    """The model card of the exported version."""
    card: dict[str, Any] = json.loads((models / "1" / "model_card.json").read_text())
    return card
