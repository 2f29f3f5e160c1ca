"""``kmnist predict``: from a server and from a folder, and what it refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from kmnist.cli import main

pytest.importorskip("tensorflow", reason="needs TensorFlow for the model behind it")

import tensorflow as tf


@pytest.fixture(scope="module")
def pictures(tiny_dataset, tmp_path_factory):
    """PNG files of the first three test images, dark ink on light paper."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for index, image in enumerate(tiny_dataset.test.images[:3]):
        paths.append(folder / f"[{index}].png")
        large = 255 - np.kron(image, np.ones((4, 4), np.uint8))
        paths[-1].write_bytes(tf.io.encode_png(large[..., None]).numpy())
    return [str(path) for path in paths]


def predict(*args, **options):
    return CliRunner().invoke(main, ["predict", *map(str, args)], **options)


@pytest.fixture(params=["grpc", "http", "folder"])
def source(request, served):
    """The options that say whom to ask."""
    return {
        "grpc": ["--server", served.grpc_url],
        "http": ["--server", served.rest_url],
        "folder": ["--model", served.base],
    }[request.param]


def test_a_table_has_a_line_for_each_picture(source, pictures) -> None:
    result = predict(*pictures, *source)
    assert result.exit_code == 0, result.stderr
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["picture", "class", "confidence"]
    text = "".join(lines)
    for index in range(3):
        assert f"[{index}].png" in text
    assert text.count("%") == 3
    assert "█" in text


def test_json_has_everything(source, pictures) -> None:
    found = json.loads(predict(*pictures, *source, "--json").stdout)["predictions"]
    assert [each["picture"] for each in found] == pictures
    for each in found:
        assert each["class_name"] == str(each["class_id"])
        assert each["probability"] == pytest.approx(max(each["probabilities"]), abs=1e-6)


def test_a_picture_on_standard_input(served, pictures) -> None:
    with open(pictures[0], "rb") as file:
        result = predict("-", "--server", served.grpc_url, "--json", input=file.read())
    by_name = predict(pictures[0], "--server", served.grpc_url, "--json")
    (one,), (other,) = (json.loads(r.stdout)["predictions"] for r in (result, by_name))
    assert one | {"picture": ""} == other | {"picture": ""}


def test_a_random_image_is_drawn_with_its_label(source, tiny) -> None:
    result = predict("--random", "--dataset", tiny, *source)
    assert result.exit_code == 0, result.stderr
    *drawing, image, label, prediction = result.stdout.splitlines()
    assert len(drawing) == 28
    assert "██" in "".join(drawing)
    assert "of the 200 test images" in " ".join([*drawing, image])
    assert label.split()[0] == "label"
    assert prediction.split()[0] == "prediction"


def test_a_random_image_as_json(served, tiny, tiny_dataset) -> None:
    result = predict("--random", "--dataset", tiny, "--server", served.grpc_url, "--json")
    found = json.loads(result.stdout)
    assert found["label"] == str(tiny_dataset.test.labels[found["index"]])


def test_the_server_may_come_from_the_environment(served, pictures) -> None:
    result = predict(pictures[0], env={"KMNIST_SERVER": served.rest_url})
    assert result.exit_code == 0, result.stderr


def test_the_broken_one_of_several_is_named(source, pictures, tmp_path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("no such")
    result = predict(*pictures, broken, *source)
    assert result.exit_code == 2
    assert f"{broken}: the model refused the input: Picture 0, 7 bytes" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "received 0 pictures; expected one or more pictures, or --random"),
        (["a.png", "--random"], 2, "received 1 pictures and --random"),
        (["no-such.png"], 2, "cannot read the picture no-such.png: No such file"),
        (["."], 2, "cannot read the picture .: Is a directory"),
        (["--random", "--server", "localhost"], 2, "without a scheme"),
        (["--random", "--server", "grpc://127.0.0.1:1"], 1, "127.0.0.1:1: Connection refused"),
        (["--random", "--model", "no/such"], 2, "no version in no/such"),
        (["--random", "--model", "x", "--label", "y"], 2, "--label with a folder"),
        (["--random", "--header", "s3cret"], 2, "a --header without a colon"),
        (["--random", "--version", "1", "--label", "y"], 2, "at most one of them"),
    ],
)
def test_failures_are_one_line(args, code, said) -> None:
    result = predict(*args)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert "s3cret" not in result.stderr


def test_a_folder_that_cannot_be_loaded(tmp_path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("no such")
    result = predict("--random", "--model", tmp_path)
    assert result.exit_code == 2
    assert "cannot be loaded as a SavedModel" in result.stderr
    assert result.stderr.count("\n") == 1
