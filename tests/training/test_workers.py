"""Training by several processes that TensorFlow connects over the loopback device."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kmnist import Dataset, Run, build_model, evaluate, train
from kmnist.data import Split
from kmnist.errors import KmnistError
from kmnist.training.batches import Share, training_blocks
from kmnist.training.cluster import Cluster, free_addresses
from kmnist.training.workers import Workers

SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 90, "seed": 5}

# A worker connects, and prints a JSON object a line.
WORKER = """
import dataclasses, json, os, signal, sys
import numpy as np
import tensorflow as tf
from kmnist import KmnistError, build_model, evaluate, load_dataset, train
from kmnist.training.cluster import Cluster
from kmnist.training.workers import connect

def show(**values):
    print(json.dumps(values), flush=True)

def stop(*_):
    raise KeyboardInterrupt

cluster = Cluster.of_tf_config(os.environ["TF_CONFIG"])
settings = {"epochs": 3, "batch_size": 90, "seed": 5}
dataset = load_dataset(sys.argv[1], validation_size=100)
signal.signal(signal.SIGTERM, stop)
"""

SAME = """
workers = connect(cluster, dataset, settings)
state = sys.argv[2] if workers.is_chief else "/proc/nowhere"
run = train(build_model(seed=5), dataset, workers=workers, checkpoint=state, **settings)
test = evaluate(run.model, dataset.test, workers=workers)
show(
    digest=run.weights_digest,
    history=[dataclasses.asdict(epoch) for epoch in run.history],
    weights=[weight.tolist() for weight in run.model.get_weights()],
    test=[test.cost, test.confusion.tolist()],
    settings=run.settings,
)
# A resumed run starts from the state of the chief, whatever the weights of the others.
longer = {**settings, "epochs": 5}
first = train(build_model(seed=5), dataset, workers=workers, **longer)
second = train(
    build_model(seed=workers.index), dataset, workers=workers, checkpoint=state, resume=True, **longer
)
show(uninterrupted=first.weights_digest, resumed=second.weights_digest, epochs=len(second.history))
# Alone in a batch of one, the second worker has no example.
single = train(build_model(seed=5), dataset, workers=workers, epochs=1, batch_size=399)
show(digest=single.weights_digest)
show(handler=signal.getsignal(signal.SIGTERM) is stop)
print("training", flush=True)
try:
    train(build_model(), dataset, workers=workers, epochs=10**6, batch_size=100)
except KmnistError as error:
    show(lost=str(error), code=error.exit_code)
except KeyboardInterrupt:
    show(interrupted=True)
"""

# Each has a part of the training images, and two logical devices.
SHARDED = """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended

# The strategy uses all GPUs of a machine, but one of its CPUs.
CollectiveAllReduceExtended._initialize_local_devices = lambda self, resolver, worker: (
    (f"{worker}/device:CPU:0", f"{worker}/device:CPU:1"), "CPU"
)
bounds = [(0, 100, 30), (100, 330, 50), (330, 400, 20)][cluster.index]
start = sum((30, 50, 20)[: cluster.index])
part = dataclasses.replace(
    dataset,
    train=dataset.train[bounds[0] : bounds[1]],
    validation=dataset.validation[start : start + bounds[2]],
    paths=(),
)
workers = connect(cluster, part, settings, sharded=True)
run = train(build_model(seed=5), part, workers=workers, **settings)
show(
    digest=run.weights_digest,
    history=[dataclasses.asdict(epoch) for epoch in run.history],
    weights=[weight.tolist() for weight in run.model.get_weights()],
    replicas=workers.strategy.num_replicas_in_sync,
)
workers.wait()
"""


def start_workers(count: int, script: str, *arguments: str | Path) -> list[subprocess.Popen[str]]:
    """Start a process for each worker."""
    addresses = free_addresses(count)
    processes = []
    for index in range(count):
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
    return processes


def kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()  # TensorFlow may ignore SIGTERM
        process.communicate()


def read(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return the objects that a worker prints before it trains without end, or ends."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        if line == "training\n":
            break
        lines.append(json.loads(line))
    return lines


@pytest.fixture(scope="module")
def alone(tiny_dataset: Dataset) -> Run:
    """The same training by one worker."""
    return train(build_model(seed=5), tiny_dataset, **SETTINGS)


@pytest.fixture(scope="module")
def pair(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers, and what each has printed; they train without end."""
    state = tmp_path_factory.mktemp("state")
    processes = start_workers(2, SAME, tiny, state)
    try:
        with ThreadPoolExecutor() as pool:  # a pipe that nobody reads would stop its writer
            outputs = list(pool.map(read, processes))
        yield processes, outputs
    finally:
        kill(processes)


def assert_like(found: dict[str, Any], run: Run) -> None:
    for weight, expected in zip(found["weights"], run.model.get_weights(), strict=True):
        np.testing.assert_allclose(np.array(weight), expected, rtol=0, atol=1e-6)
    for epoch, alone in zip(found["history"], run.history, strict=True):
        for name, value in asdict(alone).items():
            if name != "seconds":
                assert epoch[name] == pytest.approx(value, rel=1e-5), name


def test_two_workers_train_like_one(pair: Any, alone: Run) -> None:
    processes, [chief, other] = pair
    assert len(chief) == 4, processes[0].communicate()[1]
    assert chief[0]["digest"] == other[0]["digest"]
    assert_like(chief[0], alone)
    assert_like(other[0], alone)
    assert chief[0]["settings"]["workers"] == 2


def test_the_evaluation_is_shared_out_with_the_same_figures(
    pair: Any, tiny_dataset: Dataset
) -> None:
    _, [[chief, *_], [other, *_]] = pair
    assert chief["test"] == other["test"]
    model = build_model()
    model.set_weights([np.array(weight, np.float32) for weight in chief["weights"]])
    expected = evaluate(model, tiny_dataset.test)
    assert chief["test"][0] == pytest.approx(expected.cost, rel=1e-9)
    assert chief["test"][1] == expected.confusion.tolist()


def test_a_resumed_run_of_two_workers_has_the_weights_of_an_uninterrupted_one(pair: Any) -> None:
    _, outputs = pair
    digests = {
        digest
        for output in outputs
        for digest in (output[1]["uninterrupted"], output[1]["resumed"])
    }
    assert len(digests) == 1
    assert [output[1]["epochs"] for output in outputs] == [5, 5]


def test_a_last_batch_of_one_example_is_trained_by_all(pair: Any) -> None:
    _, [chief, other] = pair
    assert chief[2] == other[2]


def test_the_handler_of_sigterm_is_kept(pair: Any) -> None:
    _, outputs = pair
    assert [output[3] for output in outputs] == [{"handler": True}] * 2


def test_a_start_that_hangs_ends_in_one_line() -> None:
    script = (
        "import ctypes, kmnist.training.workers as workers\n"
        "workers._START_TIMEOUT = 0.5\n"
        "with workers._ending_in_time():\n"
        "    ctypes.PyDLL(None).sleep(60)\n"  # holds the lock of the interpreter, as TensorFlow does
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=50)
    assert ended.returncode == 1
    assert ended.stderr.decode().splitlines()[-1] == (
        "Error: TensorFlow did not start within 0.5 s, because another worker ended, froze or cannot "
        "be reached; start all workers again"
    )
    assert ended.stderr.count(b"Error") == 1


def test_an_interrupted_worker_ends_the_other_in_one_line(pair: Any) -> None:
    # The last test of the pair: it ends them.
    processes, _ = pair
    time.sleep(0.5)
    processes[1].terminate()
    [interrupted], [lost] = read(processes[1]), read(processes[0])
    assert interrupted == {"interrupted": True}
    assert lost["code"] == 1
    assert lost["lost"].startswith("lost worker 1 (127.0.0.1:")
    assert "\n" not in lost["lost"]


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("Error reported from /job:worker/task:0: stopped sending heartbeats", 0),
        # The chief is frozen, and the next worker passes that on.
        ("RPC: /tensorflow.CoordinationService/Heartbeat … /job:worker/replica:0/task:1 …", 0),
        ("remote target /job:worker/replica:0/task:1 … /job:worker/replica:0/task:0", 1),
        ("Deadline Exceeded", None),
        ("remote target /job:worker/replica:0/task:2", None),  # the worker itself
    ],
)
def test_the_lost_worker_is_named(message: str, lost: int | None) -> None:
    cluster = Cluster(tuple(f"host{index}:1234" for index in range(3)), 2)
    workers = Workers(cluster, tf.distribute.get_strategy(), None)
    name = "another worker" if lost is None else f"worker {lost} (host{lost}:1234)"
    with pytest.raises(KmnistError, match=f"^lost {re.escape(name)}: "), workers.losing_workers():
        raise tf.errors.UnavailableError(None, None, message)


def test_of_two_workers_the_lost_one_is_the_other() -> None:
    workers = Workers(Cluster(("a:1", "b:1"), 1), tf.distribute.get_strategy(), None)
    with pytest.raises(KmnistError, match=r"^lost worker 0 \(a:1\): "), workers.losing_workers():
        raise tf.errors.DeadlineExceededError(None, None, "Deadline Exceeded")


def test_three_parts_on_two_devices_each_train_like_the_whole(tiny: Path, alone: Run) -> None:
    processes = start_workers(3, SHARDED, tiny)
    try:
        with ThreadPoolExecutor() as pool:
            outputs = list(pool.map(read, processes))
        for [found], process in zip(outputs, processes, strict=True):
            assert process.wait(60) == 0
            assert found["replicas"] == 6
            assert found["digest"] == outputs[0][0]["digest"]
            assert_like(found, alone)
    finally:
        kill(processes)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("parts", [False, True])
def test_the_shares_of_a_batch_are_the_batch(
    tiny_dataset: Dataset, workers: int, parts: bool
) -> None:
    split, size = tiny_dataset.train[:101], 20
    bounds = [0, 60, 64, 101] if workers == 3 else [0, 100, 101]

    def batches(split: Split, share: Share) -> list[list[tuple[bytes, int]]]:
        blocks = training_blocks(split, size, seed=1, first_epoch=0, epochs=2, share=share)
        assert blocks.examples == 101
        assert [blocks.batch_size(block) for block in range(2)] == [20, 1]
        return [
            [
                (image.tobytes(), int(label))
                for image, label in zip(*pair, strict=True)
                if label >= 0
            ]
            for block in blocks.dataset.as_numpy_iterator()
            for pair in zip(*block, strict=True)
        ]

    shares = [
        batches(
            split[bounds[worker] : bounds[worker + 1]] if parts else split,
            Share(worker, workers, tuple(np.diff(bounds).tolist()) if parts else None),
        )
        for worker in range(workers)
    ]
    whole = batches(split, Share())
    assert [len(batch) for batch in whole] == [20, 20, 20, 20, 20, 1] * 2
    for batch, *pieces in zip(whole, *shares, strict=True):
        assert sorted(chain(*pieces)) == sorted(batch)
