"""What the model card of a version says in one line: accuracy, data set, epochs."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Summary", "read_summary"]


@dataclass(frozen=True)
class Summary:
    """The essentials of a model card; each is None if the card lacks it.

    Attributes:
        accuracy: Fraction of the test split classified correctly.
        dataset: The name of the data set.
        epochs: The number of epochs of the training.
    """

    accuracy: float | None
    dataset: str | None
    epochs: int | None


def read_summary(folder: str | os.PathLike[str]) -> Summary:
    """Read the model card of a version.

    Args:
        folder: The version folder.

    Returns:
        The summary, empty if there is no card or it cannot be read: versions of other programs have
        none, and a card may be edited.
    """
    try:
        card = json.loads((Path(folder) / "model_card.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        card = None
    accuracy = _value(card, "test", "accuracy")
    dataset = _value(card, "data", "name")
    epochs = _value(card, "training", "epochs")
    return Summary(
        float(accuracy) if type(accuracy) in (int, float) else None,
        dataset if isinstance(dataset, str) else None,
        epochs if type(epochs) is int else None,
    )


def _value(card: Any, *keys: str) -> Any:
    for key in keys:
        card = card.get(key) if isinstance(card, dict) else None
    return card
