"""Folders of pictures made of the tiny data set."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pictures.kinds import encode

if TYPE_CHECKING:
    from kmnist import Dataset


@pytest.fixture
def pictures(tiny_dataset: "Dataset", tmp_path: Path) -> Path:
    """A folder with 40 training and 20 test images as PNG: ``train/7/3.png`` and so on."""
    folder = tmp_path / "pictures"
    splits = {"train": tiny_dataset.train[:40], "test": tiny_dataset.test[:20]}
    for split, part in splits.items():
        for number, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
            path = folder / split / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(image))
    return folder
