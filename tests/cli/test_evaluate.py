"""``kmnist evaluate``: the figures of the test split, from a folder; through a server see tests/client."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmnist import Evaluation
from kmnist.cli.evaluate import command


def run_evaluate(*arguments: str | Path):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_folders_figures_are_the_trainings(
    models: Path, tiny: Path, evaluation: Evaluation
) -> None:
    done = run_evaluate("--model", models, "--dataset", tiny, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0, done.stderr
    assert told["accuracy"] == evaluation.accuracy
    assert told["cost"] == pytest.approx(evaluation.cost)
    assert told["confusion"] == evaluation.confusion.tolist()
    assert told["examples"] == 200


def test_it_prints_tables(models: Path, tiny: Path, evaluation: Evaluation) -> None:
    done = run_evaluate("--model", models, "--version", "1", "--dataset", tiny)
    assert f"accuracy {evaluation.accuracy:.4f}" in done.stdout
    assert "precision" in done.stdout
    assert str(evaluation.confusion[1, 1]) in done.stdout


def test_through_a_server_the_figures_are_the_same(
    models: Path, tiny: Path, evaluation: Evaluation
) -> None:
    from kmnist.server import Server

    with Server(base=models, grpc_port=0, rest_port=0) as server:
        for url in (server.grpc_url, server.rest_url):
            done = run_evaluate("--server", url, "--dataset", tiny, "--json")
            assert done.exit_code == 0, done.stderr
            assert json.loads(done.stdout)["accuracy"] == evaluation.accuracy
            assert json.loads(done.stdout)["confusion"] == evaluation.confusion.tolist()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "/nowhere"], 2, "no version in /nowhere; train one with"),
        (["--version", "9"], 2, "no version 9"),
        (["--label", "stable"], 2, "--label with a folder"),
        (["--dataset", "/nowhere"], 2, "there is no folder /nowhere"),
        (["--server", "localhost"], 2, "grpc://localhost:8500"),
        (["--server", "http://127.0.0.1:9"], 1, "127.0.0.1:9"),
    ],
)
def test_what_is_wrong_is_one_line(
    models: Path, tiny: Path, arguments: list[str], code: int, message: str
) -> None:
    if "--server" not in arguments:
        arguments = ["--model", str(models), *arguments]
    done = run_evaluate("--dataset", tiny, *arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_set_of_other_classes_is_refused(models: Path, tmp_path: Path) -> None:
    import numpy as np

    from kmnist.data.idx import write_idx

    for part, examples in (("train", 30), ("t10k", 12)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((examples, 28, 28), np.uint8))
        labels = (np.arange(examples) % 3).astype(np.uint8)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    done = run_evaluate("--model", models, "--dataset", tmp_path)
    assert done.exit_code == 2
    assert "tells 10 classes apart" in done.stderr
