"""``kmnist train``: its output, the exported version, bad usage and interruptions."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Never

import pytest
from click.testing import CliRunner, Result

from kmnist.cli.train import command
from kmnist.versions import read_labels

ON_TINY = ["--validation-size", "100", "--epochs", "3"]


def run_train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def start_train(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start the command as a process, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", "kmnist", "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_the_best_epoch_is_evaluated_exported_and_labelled(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "models" / "kmnist"
    fast = ["--validation-size", "100", "--epochs", "20", "--learning-rate", "0.5"]
    options = ["--batch-size", "20", "--keep-best", "--label", "canary"]
    done = run_train("--dataset", tiny, *fast, *options, "--models", base)
    assert done.exit_code == 0, done.stderr
    assert "400 training, 100 validation and 200 test images of 28×28, 10 classes" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[2:5]] == ["1", "2", "3"]
    assert "test accuracy 0." in done.stdout
    assert "weights sha256 " in done.stdout
    assert "█" in done.stdout
    assert "label " in done.stdout
    card = json.loads((base / "1" / "model_card.json").read_text())
    history = [epoch["validation_accuracy"] for epoch in card["training"]["history"]]
    best = max(history)
    kept = history.index(best) + 1
    assert best > history[-1]
    assert card["training"]["kept_epoch"] == kept
    assert f"kept epoch {kept}: validation accuracy {best:.4f}\n" in done.stdout
    served = f"serve it with: kmnist serve --models {base}"
    assert f"exported {base / '1'} with the label canary; {served}" in done.stdout
    assert (base / "1" / "saved_model.pb").exists()
    assert read_labels(base) == {"canary": 1}


def test_nothing_is_published_below_the_minimum_accuracy(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "models" / "kmnist"
    arguments: list[str | Path] = ["--dataset", tiny, *ON_TINY, "--models", base, "--json"]
    done = run_train(*arguments, "--min-accuracy", "0.99")
    assert (done.exit_code, json.loads(done.stdout)["published"]) == (1, False)
    assert re.search(r"accuracy 0\.\d{4} is below .* 0\.99: nothing was published", done.stderr)
    assert not base.exists()


def test_the_json_of_a_training_on_a_prepared_tfds_data_set_is_one_object_and_nothing_else(
    tiny_tfds: Path, tmp_path: Path
) -> None:
    arguments: list[str | Path] = ["--dataset", "tiny_digits", "--data-dir", tiny_tfds, *ON_TINY]
    arguments += ["--models", tmp_path / "kmnist", "--min-accuracy", "0.1", "--label", "stable"]
    done = run_train(*arguments, "--json")
    output = json.loads(done.stdout)
    assert done.stderr == ""
    assert (output["version"], output["label"]) == (1, "stable")
    assert Path(output["path"]) == tmp_path / "kmnist" / "1"
    assert len(output["history"]) == 3
    card = json.loads((tmp_path / "kmnist" / "1" / "model_card.json").read_text())
    assert card["data"]["name"] == "tiny_digits/1.0.0"
    assert output["test"]["accuracy"] == card["test"]["accuracy"]
    assert output["weights_sha256"] == card["model"]["weights_sha256"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "/nowhere"], "there is no folder or file /nowhere"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--learning-rate", "0"], "0.0 is not in the range x>0"),
        (["--init", "zeros"], "'zeros' is not one of"),
        (["--resume"], "--resume needs --checkpoint DIR"),
        (["--validation-size", "500"], "from 0 to 499"),
        (["--label", "a/b"], "'a/b' cannot be a label"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    tiny: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_train("--dataset", tiny, "--models", tmp_path / "kmnist", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "kmnist").exists()


def test_a_missing_gpu_is_refused_with_the_option_to_use(tiny: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    done = run_train(
        "--dataset", tiny, *ON_TINY, "--device", "gpu", "--models", tmp_path / "kmnist"
    )
    assert done.exit_code == 2
    assert "TensorFlow sees no GPU" in done.stderr
    assert done.stderr.endswith("or use --device cpu\n")


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path) -> str:
    """The digest of 300 epochs without an interruption."""
    from kmnist import build_model, load_dataset, train

    return train(build_model(), load_dataset(tiny, validation_size=0), epochs=300).weights_digest


@pytest.mark.slow
def test_a_resumed_training_has_the_weights_of_an_uninterrupted_one(
    tiny: Path, tmp_path: Path, uninterrupted: str
) -> None:
    state = tmp_path / "state"
    file = state / "checkpoint.npz"
    arguments: list[str | Path] = ["--dataset", tiny, "--validation-size", "0", "--epochs", "300"]
    arguments += ["--checkpoint", state, "--models", tmp_path / "kmnist", "--json"]

    def stopped(number: int, *options: str) -> tuple[int, str]:
        before = file.stat().st_mtime_ns if file.exists() else 0
        process = start_train(*arguments, *options)
        while process.poll() is None and not (file.exists() and file.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(process.pid, number)
        error = process.communicate()[1]
        assert not (tmp_path / "kmnist" / "1").exists()
        return process.returncode, error

    code, error = stopped(signal.SIGTERM)
    assert code == 130, error
    assert f"of 300; continue with: --checkpoint {state} --resume" in error
    assert error.count("\n") == 1
    assert stopped(signal.SIGKILL, "--resume")[0] == -signal.SIGKILL
    resumed = run_train(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["weights_sha256"] == uninterrupted


def test_an_interrupt_that_tensorflow_replaced_is_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kmnist.training.loop

    def fail(*_: Any, **__: Any) -> Never:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("ORIGINAL InvalidArgumentError REPLACED BY KeyboardInterrupt: <EMPTY>")

    monkeypatch.setattr(kmnist.training.loop, "train", fail)
    done = run_train("--dataset", tiny, *ON_TINY, "--models", tmp_path / "kmnist")
    assert done.exit_code == 130
    assert "interrupted" in done.stderr


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *(("--models", name) for name in ("file", "file/kmnist", "broken/kmnist")),
        *((option, "file/state") for option in ("--checkpoint", "--tensorboard")),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "models.config").write_text("garbage {")

    def load(*_: object, **__: object) -> Never:
        raise AssertionError("the data set was loaded")

    monkeypatch.setattr("kmnist.data.load_dataset", load)
    done = run_train("--models", tmp_path, option, tmp_path / name)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {tmp_path / name.partition('/')[0]}")
