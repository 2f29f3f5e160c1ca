"""``kmnist evaluate``: the metrics of the test split, from a folder and through a server."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from kmnist import Dataset, Evaluation
from kmnist.cli import main
from kmnist.data.idx import write_idx
from kmnist.server import Server


def run_evaluate(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], env=environment)


@pytest.mark.parametrize("source", ["folder", "grpc", "rest"])
def test_a_folder_and_a_server_have_the_metrics_of_the_training(
    served: Server, tiny: Path, evaluation: Evaluation, source: str
) -> None:
    url = served.grpc_url if source == "grpc" else served.rest_url
    folder = ("--models", served.base, "--label", "stable")
    selection = folder if source == "folder" else ("--server", url)
    # What is given on the command line comes before the environment.
    environment = {"KMNIST_MODELS": "/nowhere", "KMNIST_SERVER": "grpc://nowhere:1"}
    done = run_evaluate(*selection, "--dataset", tiny, "--json", **environment)
    assert done.exit_code == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["model"] == str(selection[1])
    assert output["accuracy"] == evaluation.accuracy
    assert output["cost"] == pytest.approx(evaluation.cost)
    assert output["confusion"] == evaluation.confusion.tolist()
    assert output["examples"] == 200


def test_the_metrics_are_printed_as_a_table(
    served: Server, tiny: Path, evaluation: Evaluation
) -> None:
    done = run_evaluate("--models", served.base, "--version", "1", "--dataset", tiny)
    assert f"accuracy {evaluation.accuracy:.4f}" in done.stdout
    table = [line.split() for line in done.stdout.splitlines()[3:]]
    precision, recall = evaluation.precision[1], evaluation.recall[1]
    counts = [str(count or "·") for count in evaluation.confusion[1]]
    assert table[0] == ["class", "precision", "recall", *map(str, range(10))]
    assert table[2] == ["1", f"{precision:.4f}", f"{recall:.4f}", *counts]


def test_long_names_of_classes_are_printed_once(
    served: Server, tiny: Path, evaluation: Evaluation, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "named")
    names = [f"the long name of the class {number}" for number in range(10)]
    (tmp_path / "named" / "classes.txt").write_text("\n".join(names))
    done = run_evaluate("--server", served.rest_url, "--dataset", tmp_path / "named")
    lines = done.stdout.splitlines()
    scores = f"{evaluation.precision[9]:.4f}  {evaluation.recall[9]:.4f}"
    assert lines[12].split("  ", 1) == ["9", f"{names[9]}     {scores}"]
    counts = [str(count or "·") for count in evaluation.confusion[9]]
    assert lines[-1].split() == ["9", *counts]
    assert all(done.stdout.count(name) == 1 for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--models /nowhere", 2, "no version in /nowhere; train one with"),
        ("--models MODELS --version 9", 2, "no version 9"),
        ("--models MODELS --label x", 2, "no label 'x' in MODELS; existing labels: stable\n"),
        ("--models MODELS --version 1 --label stable", 2, "--version and --label cannot be used"),
        ("--server SERVER --version 1 --label stable", 2, "--version and --label cannot be used"),
        ("--server SERVER --header s3cret", 2, "Error: a header must be NAME:VALUE\n"),
        ("--server SERVER --header :s3cret", 2, "Error: a header must be NAME:VALUE\n"),
        ("--models MODELS --server grpc://localhost", 2, "--models and --server cannot be used"),
        ("--server SERVER --dataset /nowhere", 2, "/nowhere"),
        ("--server localhost", 2, "an address without a scheme"),
        ("--server http://127.0.0.1:9", 1, "127.0.0.1:9"),
    ],
)
def test_a_failure_is_one_line(
    served: Server, tiny: Path, arguments: str, code: int, message: str
) -> None:
    arguments = arguments.replace("MODELS", str(served.base)).replace("SERVER", served.rest_url)
    done = run_evaluate("--dataset", tiny, *arguments.split())
    assert done.exit_code == code
    assert message.replace("MODELS", str(served.base)) in done.stderr
    assert done.stderr.count("\n") == 1


def write_data(folder: Path, labels: list[int]) -> None:
    """Write a data set of black images."""
    for part in ("train", "t10k"):
        images = np.zeros((len(labels), 28, 28), np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.array(labels, np.uint8))


def test_a_data_set_with_other_classes_is_refused(served: Server, tmp_path: Path) -> None:
    write_data(tmp_path, [0, 1, 2] * 10)
    done = run_evaluate("--server", served.rest_url, "--dataset", tmp_path)
    assert done.exit_code == 2
    assert f"has 10 classes, the data set {tmp_path.name} 3: select the" in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "versions compare 1 stable"])
def test_classes_in_another_order_are_refused(
    served: Server, tiny_dataset: Dataset, tmp_path: Path, command: str
) -> None:
    path, test = tmp_path / "reversed.npz", tiny_dataset.test
    arrays: dict[str, Any] = {"x_train": test.images, "x_test": test.images}
    arrays |= {"y_train": test.labels, "y_test": test.labels}
    np.savez(path, **arrays, class_names=list("9876543210"))
    arguments = [*command.split(), "--models", str(served.base), "--dataset", str(path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    message = (
        r"calls class \d '\d', the data set reversed\.npz '\d': select .* order of its training"
    )
    assert re.search(message, done.stderr)


def test_a_class_that_is_never_predicted_has_no_precision(served: Server, tmp_path: Path) -> None:
    write_data(tmp_path, list(range(10)))
    arguments = ("--server", served.rest_url, "--dataset", tmp_path)
    assert json.loads(run_evaluate(*arguments, "--json").stdout)["precision"].count(None) == 9
    assert run_evaluate(*arguments).stdout.count(" - ") == 9
