"""``kmnist train`` by several workers: its options, and processes of this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmnist.cli._workers import find_workers, run_workers
from kmnist.cli.train import command
from kmnist.errors import InputError
from kmnist.training.cluster import Cluster, free_addresses

ONE = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
TWO = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'


@pytest.mark.parametrize(
    ("config", "workers", "index", "expected"),
    [
        ("", None, None, (None, 1)),
        (ONE, None, None, (None, 1)),
        (TWO, None, None, (Cluster(("a:1", "b:1"), 1), 1)),
        ("", "1", None, (None, 1)),
        ("", "3", None, (None, 3)),
        ("", "a:1", 0, (None, 1)),
        ("", "a:1, b:1", 1, (Cluster(("a:1", "b:1"), 1), 1)),
    ],
)
def test_the_workers_are_those_of_tf_config_or_of_the_options(
    config: str,
    workers: str | None,
    index: int | None,
    expected: tuple[Cluster | None, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    assert find_workers(workers, index, shard=False) == expected


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ("", ["--index", "1"], "--index needs --workers"),
        ("", ["--workers", "a:1,b:1"], "--workers LIST needs --index"),
        ("", ["--workers", "a:1,b:1", "--index", "2"], "the index 2 of 2 workers"),
        ("", ["--workers", "a:1,b", "--index", "0"], "the worker 'b'; expected host:port"),
        ("", ["--workers", "0"], "received --workers 0; expected 1 to 64 processes"),
        ("", ["--workers", "65"], "received --workers 65;"),
        ("", ["--workers", "9" * 5000], "expected 1 to 64 processes"),
        ("", ["--workers", "2", "--index", "0"], "received --workers 2 --index; expected"),
        ("", ["--workers", "2", "--shard"], "received --workers 2 --shard; expected"),
        ("", ["--shard"], "--shard needs several workers"),
        (TWO, ["--workers", "2"], "received --workers and TF_CONFIG; expected one of them"),
        ("{", [], "received TF_CONFIG '{'"),
    ],
)
def test_contradictory_options_are_bad_usage_in_one_line(
    config: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        command, [*arguments, "--models", str(tmp_path / "kmnist")], env={"TF_CONFIG": config}
    )
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bad_option_of_the_processes_is_their_error(tmp_path: Path) -> None:
    # Each of them fails at once, without TensorFlow.
    with pytest.raises(InputError, match=r"^there is no folder or file /nowhere"):
        run_workers(2, ["--dataset", "/nowhere", "--models", str(tmp_path / "kmnist")])
    with pytest.raises(InputError, match="No such option"):
        run_workers(2, ["--no-such-option"])


@pytest.mark.parametrize("failed", [0, 1])
def test_a_worker_that_fails_at_once_ends_the_other(
    failed: int, tiny: Path, tmp_path: Path
) -> None:
    models, damaged = tmp_path / "kmnist", tmp_path / "data"
    shutil.copytree(tiny, damaged)
    if failed == 0:
        models.touch()  # of which only the chief takes notice
    else:
        (damaged / "train-images-idx3-ubyte.gz").write_bytes(b"")
    addresses = free_addresses(2)
    same = [sys.executable, "-m", "kmnist", "train", "--workers", ",".join(addresses)]
    same += ["--models", str(models), "--timeout", "1000"]
    datasets = [str(damaged if index == failed else tiny) for index in range(2)]
    processes = [
        subprocess.Popen(
            [*same, "--index", str(index), "--dataset", data],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, data in enumerate(datasets)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    cause = outputs[failed][1].removeprefix("Error: ")
    assert cause.startswith(str(tmp_path))
    name = f"worker {failed} ({addresses[failed]})"
    assert outputs[1 - failed] == ("", f"Error: {name} failed: {cause}")


# TensorFlow's start replaces the handler of SIGTERM, and the signal arrives before it returns.
SIGTERM_AT_THE_START = """
import os, signal, time
import kmnist.cli.train as train
from kmnist.__main__ import main

def patch():
    import_tensorflow()
    import kmnist.training.workers as workers
    workers._start = start
    workers.meet = lambda *_, **__: []

def start(*_):
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)

import_tensorflow, train._start_tensorflow = train._start_tensorflow, patch
main()
"""


def test_a_sigterm_at_the_start_of_tensorflow_is_not_lost(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    arguments = ["--workers", "a:1,b:1", "--index", "0", "--models", str(tmp_path / "kmnist")]
    done = subprocess.run(
        [sys.executable, "-c", SIGTERM_AT_THE_START, "train", "--dataset", str(tiny), *arguments],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "Error: interrupted\n")


def test_the_processes_end_when_their_launcher_is_killed(tiny: Path, tmp_path: Path) -> None:
    arguments = ["--workers", "2", "--dataset", str(tiny), "--models", str(tmp_path / "kmnist")]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "kmnist", "train", *arguments, "--epochs", "100000"],
        stdout=subprocess.DEVNULL,
    )
    listed = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while len(children := listed.read_text().split()) < 2:
        time.sleep(0.05)
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 20
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [child for child in children if _runs(child)]
    for child in left:
        os.kill(int(child), signal.SIGKILL)
    assert not left


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_processes_of_this_machine_train_and_resume(tiny: Path, tmp_path: Path) -> None:
    def start(name: str, *more: str) -> "subprocess.Popen[str]":
        arguments: list[str | Path] = ["--workers", "2", "--dataset", tiny]
        arguments += ["--validation-size", "100", "--epochs", "60"]
        arguments += ["--checkpoint", tmp_path / name, "--models", tmp_path / name / "kmnist"]
        return subprocess.Popen(
            [sys.executable, "-m", "kmnist", "train", *map(str, arguments), "--json", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    whole = start("whole")
    stdout, stderr = whole.communicate()
    assert whole.returncode == 0, stderr
    state = tmp_path / "stopped" / "checkpoint.npz"
    for number, code, message in (
        (signal.SIGKILL, 1, "worker 1 was ended by SIGKILL"),  # of a worker
        (signal.SIGTERM, 130, "of 60; continue with: --checkpoint"),  # of the command
    ):
        saved = state.stat().st_mtime_ns if state.exists() else None
        stopped = start("stopped", *["--resume"] * (saved is not None))
        while stopped.poll() is None and (not state.exists() or state.stat().st_mtime_ns == saved):
            time.sleep(0.05)
        children = Path(f"/proc/{stopped.pid}/task/{stopped.pid}/children").read_text().split()
        os.kill(int(children[1]) if number == signal.SIGKILL else stopped.pid, number)
        error = stopped.communicate()[1]
        assert stopped.returncode == code, error
        assert message in error
        assert error.count("\n") == 1
        assert not any(Path(f"/proc/{child}").exists() for child in children)
    resumed = start("stopped", "--resume").communicate()[0]
    assert json.loads(resumed)["weights_sha256"] == json.loads(stdout)["weights_sha256"]
    assert [path.name for path in (tmp_path / "stopped" / "kmnist").iterdir()] == ["1"]
