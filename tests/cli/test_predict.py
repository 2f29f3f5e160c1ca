"""``kmnist predict``: predictions from a server and from a folder, and rejected input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner, Result

from kmnist import Dataset
from kmnist.cli import main
from kmnist.server import Server


@pytest.fixture(scope="module")
def pictures(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """PNG files of the first three test images, dark ink on light paper."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for index, image in enumerate(tiny_dataset.test.images[:3]):
        paths.append(folder / f"[{index}].png")
        large = 255 - np.kron(image, np.ones((4, 4), np.uint8))
        paths[-1].write_bytes(tf.io.encode_png(large[..., None]).numpy())
    return [str(path) for path in paths]


def predict(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)], **options)


@pytest.fixture(params=["grpc", "http", "folder"])
def source(request: pytest.FixtureRequest, served: Server) -> list[str]:
    """The options that select the server or the folder."""
    return {
        "grpc": ["--server", served.grpc_url],
        "http": ["--server", served.rest_url],
        "folder": ["--models", str(served.base)],
    }[request.param]


def test_each_picture_is_a_row_of_a_table(source: list[str], pictures: list[str]) -> None:
    done = predict(*pictures, *source)
    assert done.exit_code == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["picture", "class", "confidence"]
    text = "".join(rows)
    for index in range(3):
        assert f"[{index}].png" in text
    assert text.count("%") == 3
    assert "█" in text


def test_json_has_every_probability(source: list[str], pictures: list[str]) -> None:
    predictions = json.loads(predict(*pictures, *source, "--json").stdout)["predictions"]
    assert [each["picture"] for each in predictions] == pictures
    for each in predictions:
        assert each["class_name"] == str(each["class_id"])
        assert each["probability"] == pytest.approx(max(each["probabilities"]), abs=1e-6)


def test_a_picture_may_come_from_standard_input(served: Server, pictures: list[str]) -> None:
    source = ("--server", served.grpc_url, "--json")
    piped = predict("-", *source, input=Path(pictures[0]).read_bytes())
    named = predict(pictures[0], *source)
    (one,), (other,) = (json.loads(done.stdout)["predictions"] for done in (piped, named))
    assert one | {"picture": ""} == other | {"picture": ""}


def test_a_random_image_is_drawn_with_its_label(source: list[str], tiny: Path) -> None:
    done = predict("--random", "--dataset", tiny, *source)
    assert done.exit_code == 0, done.stderr
    *drawing, image, label, prediction = done.stdout.splitlines()
    assert "██" in "".join(drawing)
    assert image.startswith("test image  ")
    assert image.endswith(f" of {tiny}")
    assert label.startswith("label       ")
    assert prediction.startswith("prediction  ")


def test_a_random_image_as_json(served: Server, tiny: Path, tiny_dataset: Dataset) -> None:
    done = predict("--random", "--dataset", tiny, "--server", served.grpc_url, "--json")
    output = json.loads(done.stdout)
    assert output["dataset"] == str(tiny)
    assert output["label"] == str(tiny_dataset.test.labels[output["index"]])


def test_the_environment_supplies_the_server(served: Server, pictures: list[str]) -> None:
    environment = {"KMNIST_SERVER": served.rest_url, "KMNIST_MODELS": "/nowhere"}
    done = predict(pictures[0], env=environment)
    assert done.exit_code == 0, done.stderr


def test_a_folder_on_the_command_line_comes_before_a_server_in_the_environment(
    served: Server, pictures: list[str]
) -> None:
    environment = {"KMNIST_SERVER": "grpc://127.0.0.1:1"}
    done = predict(pictures[0], "--models", served.base, "--label", "stable", env=environment)
    assert done.exit_code == 0, done.stderr


def test_the_broken_picture_of_several_is_named(
    source: list[str], pictures: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no such")
    done = predict(*pictures, broken, *source)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {broken}: ")
    assert "Picture 0, 7 bytes" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("", 2, "received 0 pictures; expected one or more pictures, or --random"),
        ("a.png --random", 2, "received 1 pictures and --random"),
        ("no-such.png", 2, "cannot read the picture no-such.png: No such file"),
        (".", 2, "cannot read the picture .: Is a directory"),
        ("--random --server localhost", 2, "without a scheme"),
        ("--random --server grpc://127.0.0.1:1", 1, "127.0.0.1:1: Connection refused"),
        ("--random --models no/such", 2, "no version in no/such"),
        ("--random --models no/such --label y", 2, "no label 'y' in no/such"),
        ("--random --models a --server b", 2, "received --models and --server"),
        ("--random --header s3cret", 2, "expected NAME:VALUE"),
        ("--random --version 1 --label y", 2, "expected at most one of them"),
    ],
)
def test_a_failure_is_one_line(arguments: str, code: int, message: str) -> None:
    done = predict(*arguments.split())
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "s3cret" not in done.stderr


def test_a_folder_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("no such")
    done = predict("--random", "--models", tmp_path)
    assert done.exit_code == 2
    assert f"{tmp_path / '1'} cannot be loaded" in done.stderr
    assert done.stderr.count("\n") == 1
