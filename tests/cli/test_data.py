"""--dataset, --grey and --image-size: what they convert, and errors that name the option to use."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kmnist import Dataset
from kmnist.cli import main
from tests.pictures.kinds import encode


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


def test_training_needs_an_option_to_convert_colours_and_questions_need_none(
    models: Path, coloured: Path
) -> None:
    train = ["train", "--models", str(models.parent / "red"), "--dataset", str(coloured)]
    done = CliRunner().invoke(main, train)
    assert done.exit_code == 2
    assert done.stderr == (
        f"Error: {coloured} has images with colours: convert to greyscale; --grey converts them\n"
    )
    for command in (["evaluate"], ["predict", "--random"]):
        asked = [*command, "--models", str(models), "--dataset", str(coloured)]
        assert CliRunner().invoke(main, asked).exit_code == 0


@pytest.mark.slow
def test_a_training_scales_pictures_to_the_size_of_its_option_and_an_evaluation_to_the_model_s(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    split = tiny_dataset.train[:100]
    for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        path = tmp_path / "digits" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image[: 28 - number % 3]
        path.write_bytes(encode(np.dstack([pixels, pixels // 2, pixels])))
    train = ["train", "--models", str(tmp_path / "models"), "--dataset", str(tmp_path / "digits")]
    done = CliRunner().invoke(main, [*train, "--grey"])
    assert done.exit_code == 2
    assert "choose an image size" in done.stderr
    done = CliRunner().invoke(main, [*train, "--image-size", "30x20", "--grey", "--epochs", "1"])
    assert done.exit_code == 0, done.stderr
    card = json.loads((tmp_path / "models" / "1" / "model_card.json").read_text())
    assert card["data"]["image_size"] == "30×20"
    assert re.match(r"pictures scaled to 30×20: \d+; pictures chosen", card["data"]["notes"])
    evaluate = ["evaluate", *train[1:], "--json"]
    done = CliRunner().invoke(main, evaluate)
    assert json.loads(done.stdout)["examples"] == card["data"]["splits"]["test"]


@pytest.mark.parametrize("size", ["x", "28x", "28x28x3", "-28"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    done = CliRunner().invoke(main, ["train", "--image-size", size])
    assert done.exit_code == 2
    assert f"'{size}' is not a size such as 28 or 28x20" in done.stderr
