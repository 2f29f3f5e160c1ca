"""``kmnist train``: what it prints, exports, refuses, and leaves when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Never

import pytest
from click.testing import CliRunner

from kmnist.cli.train import command

ON_TINY = ["--validation-size", "100", "--epochs", "3"]


def run_train(*arguments: str | Path):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def start_train(*arguments: str | Path, **settings) -> subprocess.Popen[str]:
    """The command as a process of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "kmnist", "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def test_it_trains_measures_and_exports(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "models" / "kmnist"
    done = run_train("--dataset", tiny, *ON_TINY, "--output", base)
    assert done.exit_code == 0, done.stderr
    assert "400 training, 100 validation and 200 test images of 28×28, 10 classes" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[2:5]] == ["1", "2", "3"]
    assert "test accuracy 0." in done.stdout
    assert "weights sha256 " in done.stdout
    assert "█" in done.stdout
    assert "label " in done.stdout
    assert f"exported {base / '1'}; serve it with: kmnist serve --base {base}" in done.stdout
    assert (base / "1" / "saved_model.pb").exists()


def test_json_is_one_object_and_nothing_else(tiny: Path, tmp_path: Path) -> None:
    done = run_train("--dataset", tiny, *ON_TINY, "--output", tmp_path / "kmnist", "--json")
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert told["version"] == 1
    assert Path(told["path"]) == tmp_path / "kmnist" / "1"
    assert len(told["history"]) == 3
    card = json.loads((tmp_path / "kmnist" / "1" / "model_card.json").read_text())
    assert told["test"]["accuracy"] == card["test"]["accuracy"]
    assert told["weights_sha256"] == card["model"]["weights_sha256"]


def test_the_test_split_is_measured_once_and_after_the_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmnist.training import evaluation, loop

    order: list[tuple[str, int]] = []
    train, evaluate = loop.train, evaluation.evaluate

    def noted_train(*arguments, **settings):
        run = train(*arguments, **settings)
        order.append(("trained", 0))
        return run

    def noted_evaluate(model, split):
        order.append(("evaluated", len(split)))
        return evaluate(model, split)

    monkeypatch.setattr(loop, "train", noted_train)
    monkeypatch.setattr(loop, "evaluate", noted_evaluate)
    monkeypatch.setattr(evaluation, "evaluate", noted_evaluate)
    run_train("--dataset", tiny, *ON_TINY, "--output", tmp_path / "kmnist")
    validations = [("evaluated", 100)] * 3
    assert order == [*validations, ("trained", 0), ("evaluated", 200)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "/nowhere"], "there is no folder /nowhere"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--learning-rate", "0"], "0.0 is not in the range x>0"),
        (["--init", "zeros"], "'zeros' is not one of"),
        (["--resume"], "--resume needs --checkpoint DIR"),
        (["--validation-size", "500"], "validation size of 500"),
        (["extra"], "unexpected extra argument (extra)"),
        (["--chekpoint", "x"], "No such option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    tiny: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_train("--dataset", tiny, "--output", tmp_path / "kmnist", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "kmnist").exists()


def test_a_gpu_that_is_not_there_is_a_clear_refusal(tiny: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    done = run_train(
        "--dataset", tiny, *ON_TINY, "--device", "gpu", "--output", tmp_path / "kmnist"
    )
    assert done.exit_code == 2
    assert "TensorFlow sees no GPU" in done.stderr
    assert "choose the device cpu" in done.stderr


def test_an_unexpected_failure_is_one_line_without_debug(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kmnist.training.model

    def fail(*args, **kwargs) -> Never:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(kmnist.training.model, "build_model", fail)
    arguments: list[str | Path] = ["--dataset", tiny, *ON_TINY, "--output", tmp_path / "kmnist"]
    done = run_train(*arguments)
    assert done.exit_code == 1
    assert done.stderr == "Error: RuntimeError: no luck (--debug shows where)\n"
    assert isinstance(run_train(*arguments, "--debug").exception, RuntimeError)


def test_a_folder_that_cannot_be_written_is_one_line(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_train("--dataset", tiny, *ON_TINY, "--output", tmp_path / "file")
    assert done.exit_code == 2
    assert "is a file; expected a folder" in done.stderr


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path) -> str:
    """The digest of 150 epochs in one go."""
    from kmnist import build_model, load_dataset, train

    return train(build_model(), load_dataset(tiny, validation_size=0), epochs=150).weights_digest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_goes_on_to_the_same_weights(
    tiny: Path, tmp_path: Path, number: int, uninterrupted: str
) -> None:
    state = tmp_path / "state"
    arguments: list[str | Path] = ["--dataset", tiny, "--validation-size", "0", "--epochs", "150"]
    arguments += ["--checkpoint", state, "--output", tmp_path / "kmnist", "--json"]
    stopped = start_train(*arguments)
    while not (state / "checkpoint.npz").exists() and stopped.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(stopped.pid, number)
    said = stopped.communicate()[1]
    if number == signal.SIGKILL:
        assert stopped.returncode == -signal.SIGKILL
    else:
        assert stopped.returncode == 130, said
        assert f"of 150; go on with: --checkpoint {state} --resume" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "kmnist" / "1").exists()
    resumed = run_train(*arguments, "--resume")
    assert json.loads(resumed.stdout)["weights_sha256"] == uninterrupted


def test_two_trainings_at_once_get_two_numbers(tiny: Path, tmp_path: Path) -> None:
    runs = [
        start_train("--dataset", tiny, *ON_TINY, "--output", tmp_path / "kmnist", "--json")
        for _ in range(2)
    ]
    told = [json.loads(run.communicate()[0]) for run in runs]
    assert sorted(run["version"] for run in told) == [1, 2]
    assert sorted(path.name for path in (tmp_path / "kmnist").iterdir()) == ["1", "2"]
