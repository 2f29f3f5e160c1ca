"""``kmnist evaluate``: the metrics of the test split, from a folder and through a server."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from kmnist import Evaluation
from kmnist.cli import main
from kmnist.data.idx import write_idx
from kmnist.server import Server


def run_evaluate(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], env=environment)


def test_a_folder_has_the_metrics_of_its_training(
    models: Path, tiny: Path, evaluation: Evaluation
) -> None:
    done = run_evaluate("--models", models, "--dataset", tiny, "--json")
    assert done.exit_code == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["model"] == str(models)
    assert output["accuracy"] == evaluation.accuracy
    assert output["cost"] == pytest.approx(evaluation.cost)
    assert output["confusion"] == evaluation.confusion.tolist()
    assert output["examples"] == 200


def test_the_metrics_are_printed_as_tables(
    models: Path, tiny: Path, evaluation: Evaluation
) -> None:
    done = run_evaluate("--models", models, "--version", "1", "--dataset", tiny)
    assert f"accuracy {evaluation.accuracy:.4f}" in done.stdout
    scores, confusion = (part.splitlines() for part in done.stdout.split("\n\n")[1:])
    precision, recall = evaluation.precision[1], evaluation.recall[1]
    assert scores[2].split() == ["1", f"{precision:.4f}", f"{recall:.4f}"]
    assert confusion[1].split() == ["label", *map(str, range(10))]
    assert confusion[3].split() == ["1", *(str(n or "·") for n in evaluation.confusion[1])]


def test_a_server_has_the_same_metrics(served: Server, tiny: Path, evaluation: Evaluation) -> None:
    for url in (served.grpc_url, served.rest_url):
        done = run_evaluate("--server", url, "--dataset", tiny, "--json")
        assert done.exit_code == 0, done.stderr
        output = json.loads(done.stdout)
        assert output["model"] == url
        assert output["accuracy"] == evaluation.accuracy
        assert output["confusion"] == evaluation.confusion.tolist()


def test_the_environment_does_not_choose_the_server(models: Path, tiny: Path) -> None:
    environment = {"KMNIST_MODELS": str(models), "KMNIST_SERVER": "grpc://127.0.0.1:1"}
    done = run_evaluate("--dataset", tiny, "--json", **environment)
    assert json.loads(done.stdout)["model"] == str(models)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--models /nowhere", 2, "no version in /nowhere; train one with"),
        ("--models MODELS --version 9", 2, "no version 9"),
        ("--models MODELS --label stable", 2, "no label 'stable'"),
        ("--models MODELS/1 --version 1", 2, "1"),
        ("--models MODELS --server grpc://localhost", 2, "received --models and --server"),
        ("--models MODELS --dataset /nowhere", 2, "there is no folder or file /nowhere"),
        ("--server localhost", 2, "grpc://localhost:8500"),
        ("--server http://127.0.0.1:9", 1, "127.0.0.1:9"),
    ],
)
def test_a_failure_is_one_line(
    models: Path, tiny: Path, arguments: str, code: int, message: str
) -> None:
    done = run_evaluate("--dataset", tiny, *arguments.replace("MODELS", str(models)).split())
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_set_with_other_classes_is_refused(models: Path, tmp_path: Path) -> None:
    for part, examples in (("train", 30), ("t10k", 12)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((examples, 28, 28), np.uint8))
        labels = (np.arange(examples) % 3).astype(np.uint8)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    done = run_evaluate("--models", models, "--dataset", tmp_path)
    assert done.exit_code == 2
    assert f"has 10 classes, the data set {tmp_path} 3; select" in done.stderr


def test_a_class_that_is_never_predicted_has_no_precision(models: Path, tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((10, 28, 28), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.arange(10, dtype=np.uint8))
    arguments = ("--models", models, "--dataset", tmp_path)
    precision = json.loads(run_evaluate(*arguments, "--json").stdout)["precision"]
    assert precision.count(None) == 9
    assert run_evaluate(*arguments).stdout.count(" - ") == 9
