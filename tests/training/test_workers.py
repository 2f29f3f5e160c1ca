"""Training by two processes that TensorFlow connects over the loopback device.

``examples/workers.sh`` starts them as a user does.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pytest

from kmnist import Dataset, InputError, Run, build_model, train
from kmnist.training.workers import Cluster, read_cluster

# Two processes that import TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")

SCRIPT: Final = Path(__file__).parents[2] / "examples" / "workers.sh"

Outputs: TypeAlias = list[list[dict[str, Any]]]

SETTINGS: dict[str, Any] = {"epochs": 5, "batch_size": 90, "seed": 5}

# A worker prints a JSON object a line.
WORKER = """
import dataclasses, json, os, signal, sys
from kmnist import KmnistError, build_model, load_dataset, train
from kmnist.training.workers import connect

def show(**values):
    print(json.dumps(values), flush=True)

def stop(*_):
    raise KeyboardInterrupt

settings = {"epochs": 5, "batch_size": 90, "seed": 5}
dataset = load_dataset(sys.argv[1], validation_size=100)
signal.signal(signal.SIGTERM, stop)
"""

TRAIN = """
def die(epoch):
    if epoch.epoch == 3 and not workers.is_chief:
        os.kill(os.getpid(), signal.SIGKILL)

try:
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    connect(dataset, {**settings, "seed": index}, timeout=200)
except KmnistError as error:
    show(refused=str(error), code=error.exit_code)
workers = connect(dataset, settings, timeout=200)
run = train(build_model(seed=5), dataset, workers=workers, **settings)
show(
    digest=run.weights_digest,
    history=[dataclasses.asdict(epoch) for epoch in run.history],
    weights=[weight.tolist() for weight in run.model.get_weights()],
    replicas=run.settings["replicas"],
    handles_sigterm=signal.getsignal(signal.SIGTERM) is stop,
)
# Alone in the last batch, the chief has an example.
single = train(build_model(seed=5), dataset, workers=workers, epochs=1, batch_size=399)
show(digest=single.weights_digest)
state = sys.argv[2] if workers.is_chief else "/proc/nowhere"
try:
    train(
        build_model(seed=5), dataset, workers=workers, checkpoint=state, on_epoch=die, **settings
    )
except KmnistError as error:
    show(lost=str(error), code=error.exit_code)
"""


@contextmanager
def started(script: str, *arguments: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Start two workers; kill what is left of them at the end."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER + script, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run_workers(script: str, *arguments: Path) -> tuple[Outputs, list[int]]:
    """Return what two workers print, and their exit codes."""
    with started(script, *arguments) as processes, ThreadPoolExecutor() as pool:
        # At once, because a worker whose pipe is full stops the others.
        ends = list(pool.map(lambda process: process.communicate(), processes))
        assert all(stdout for stdout, _ in ends), ends
        outputs = [[json.loads(line) for line in stdout.splitlines()] for stdout, _ in ends]
        return outputs, [process.returncode for process in processes]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the chief's checkpoint."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def killed(tiny: Path, state: Path) -> tuple[Outputs, list[int]]:
    """Two workers that first differ in their seeds, and train three times.

    The second kills itself after the third epoch of the last training.
    """
    return run_workers(TRAIN, tiny, state)


def test_two_workers_train_like_one(killed: Any, tiny_dataset: Dataset) -> None:
    [[_, chief, *_], [_, other, *_]], _ = killed
    alone: Run = train(build_model(seed=5), tiny_dataset, **SETTINGS)
    assert chief["digest"] == other["digest"]
    assert chief["replicas"] == 2
    for weight, expected in zip(chief["weights"], alone.model.get_weights(), strict=True):
        np.testing.assert_allclose(np.array(weight), expected, rtol=0, atol=1e-6)
    for found, epoch in zip(chief["history"], alone.history, strict=True):
        expected = {**asdict(epoch), "seconds": found["seconds"]}
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_last_batch_of_one_example_is_trained_by_all(killed: Any) -> None:
    [chief, other], _ = killed
    assert chief[2] == other[2]


def test_the_handler_of_sigterm_is_kept(killed: Any) -> None:
    outputs, _ = killed
    assert [output[1]["handles_sigterm"] for output in outputs] == [True, True]


def test_a_killed_worker_ends_the_other_in_one_line(killed: Any) -> None:
    [chief, other], codes = killed
    assert codes[1] == -signal.SIGKILL
    assert len(other) == 3
    assert chief[3] == {
        "lost": "lost another worker: it ended, froze or cannot be reached; start all workers again",
        "code": 1,
    }


def test_workers_that_differ_are_refused_by_name(killed: Any) -> None:
    message = "worker 1 differs from worker 0 in its seed: start all workers with the same"
    outputs, _ = killed
    assert [output[0] for output in outputs] == [{"refused": message, "code": 2}] * 2


def test_a_start_without_the_other_worker_ends_in_time(tiny: Path) -> None:
    with started("connect(dataset, settings, timeout=1)", tiny) as [chief, other]:
        other.kill()
        assert chief.wait() == 1


def run_script(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script with the ``kmnist-train`` of this Python; only worker 0 has the checkpoint."""
    program = folder / "kmnist-train"
    program.write_text(
        "#!/bin/sh\n"
        """case $TF_CONFIG in *'"index": 1'*) set -- "$@" --checkpoint /proc/nowhere ;; esac\n"""
        f'exec {sys.executable} -m kmnist train "$@"\n'
    )
    program.chmod(0o755)
    return subprocess.run(
        ["bash", SCRIPT, "--models", folder / "kmnist", *arguments],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_bash
def test_workers_that_resume_publish_one_version_with_the_weights_of_an_uninterrupted_run(
    killed: Any, state: Path, tiny: Path, tmp_path: Path
) -> None:
    [[_, whole, *_], _], _ = killed
    data = ("--dataset", tiny, "--validation-size", "100")
    settings = ("--epochs", "5", "--batch-size", "90", "--seed", "5")
    done = run_script(tmp_path, *data, *settings, "--checkpoint", state, "--resume")
    assert done.returncode == 0, done.stdout
    for index in range(2):
        assert f"worker {index}: waiting for 2 workers, at most 60 s\n" in done.stdout
    assert f"worker 0: weights sha256 {whole['digest']}\n" in done.stdout
    assert f"worker 0: exported {tmp_path / 'kmnist' / '1'};" in done.stdout
    assert "worker 1: exported" not in done.stdout


@needs_bash
def test_the_first_failure_ends_both(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--dataset", "/nowhere")
    assert done.returncode == 2
    assert "/nowhere" in done.stdout


def config(kind: str, index: object, **jobs: list[str]) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "cluster"),
    [
        (None, None),
        ("", None),
        ("{}", None),
        (config("worker", 0, worker=["a:1"]), None),
        (config("worker", 1, worker=["a:1", "b:1"]), Cluster(2, 1)),
        (config("worker", "1", chief=["a:1"], worker=["b:1", "c:1"]), Cluster(3, 2)),
        (config("chief", 0, chief=["a:1"], worker=["b:1"]), Cluster(2, 0)),
    ],
)
def test_the_cluster_is_that_of_tf_config(
    text: str | None, cluster: Cluster | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert read_cluster() == cluster


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": 1}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        config("worker", 2, worker=["a:1", "b:1"]),
        config("worker", "first", worker=["a:1", "b:1"]),
        config("ps", 0, worker=["a:1", "b:1"], ps=["c:1"]),
    ],
)
def test_a_tf_config_without_this_worker_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r'^TF_CONFIG must list the workers .* as in {"cluster"'):
        read_cluster()
