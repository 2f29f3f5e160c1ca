"""--dataset: errors that name the option to use, and the notes of a data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kmnist import Dataset
from kmnist.cli import main


@pytest.fixture
def coloured(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    """The tiny data set in red, as an ``.npz`` file."""
    train, test = (
        (np.multiply.outer(split.images, np.array([1, 0, 0], np.uint8)), split.labels)
        for split in (tiny_dataset.train, tiny_dataset.test)
    )
    path = tmp_path / "red.npz"
    np.savez(path, x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        lambda models: ["train", "--models", str(models.parent / "red")],
        lambda models: ["evaluate", "--models", str(models)],
        lambda models: ["predict", "--random", "--models", str(models)],
    ],
    ids=["train", "evaluate", "predict"],
)
def test_colours_are_refused_with_the_option_that_converts_them(
    arguments: Callable[[Path], list[str]], models: Path, coloured: Path
) -> None:
    command = [*arguments(models), "--dataset", str(coloured)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        f"Error: {coloured} has images with colours, uint8 (400, 28, 28, "
    )
    assert done.stderr.endswith("; --grey converts them\n")
    if command[0] != "train":
        assert CliRunner().invoke(main, [*command, "--grey"]).exit_code == 0
