"""The connected workers of a cluster: TensorFlow's strategy over them, and sums over all of them."""

import faulthandler
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Dataset
from kmnist.errors import InputError, KmnistError
from kmnist.training.cluster import Cluster, meet
from kmnist.training.model import limit_threads

__all__ = ["LOST_WORKER_ERRORS", "Workers", "connect"]

_STOPPING: Final = {signal.SIGINT, signal.SIGTERM}

# In seconds; TensorFlow's start takes one, and longer with several GPUs.
_START_TIMEOUT: Final = 60.0

# Wait for the end of the standard input, which is that of the start or of this process.
_WATCH: Final = """
import select, sys
if not select.select([0], [], [], float(sys.argv[1]))[0]:
    sys.stderr.write(
        f"Error: TensorFlow did not start within {float(sys.argv[1]):g} s, because another worker "
        "ended, froze or cannot be reached; start all workers again\\n"
    )
"""

# What operations raise that another worker takes part in, if it was lost.
LOST_WORKER_ERRORS: Final = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)


class Workers:
    """The connected workers of a cluster.

    Attributes:
        cluster: The cluster.
        strategy: The ``tf.distribute.MultiWorkerMirroredStrategy`` over the devices of all workers.
        index: The index of this worker.
        count: The number of workers.
        is_chief: Whether this worker is the chief.
        devices: The number of devices of each worker.
        parts: The number of training and validation images of each worker, in this order, if each
            has a part of the data; None if all have the whole data.
    """

    def __init__(
        self,
        cluster: Cluster,
        strategy: tf.distribute.Strategy,
        parts: list[tuple[int, int]] | None,
    ) -> None:
        """Wrap a strategy; :func:`connect` makes it."""
        self.cluster = cluster
        self.strategy = strategy
        self.parts = parts
        self.index = cluster.index
        self.count = len(cluster.workers)
        self.is_chief = cluster.is_chief
        self.devices = strategy.num_replicas_in_sync // self.count
        self._sum = tf.function(self._sum_of_workers, autograph=False, reduce_retracing=True)

    def sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum of the arrays of all workers, which have one shape."""
        with self.losing_workers():
            total: NDArray[np.float32] = self._sum(tf.constant(values)).numpy()
            return total

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes that the chief passed; those of the others are not used."""
        own = np.frombuffer(data if self.is_chief else b"", np.uint8).astype(np.float32)
        size = np.frombuffer(len(own).to_bytes(8, "little"), np.uint8).astype(np.float32)
        size = self.sum(size).astype(np.uint8).view("<u8")[0]
        shared = self.sum(own if self.is_chief else np.zeros(size, np.float32))
        return shared.astype(np.uint8).tobytes()

    def _sum_of_workers(self, values: tf.Tensor) -> tf.Tensor:
        def own() -> tf.Tensor:
            # The other devices of a worker add nothing.
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(replica % self.devices, 0), values, tf.zeros_like(values))

        parts = self.strategy.run(own)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

    def wait(self) -> None:
        """Wait until all workers have called this, as each has to before it ends.

        A worker that ends earlier counts as lost.
        """
        self.sum(np.zeros(1, np.float32))
        # One that has its sum must not end before the others have theirs.
        with suppress(KmnistError):
            self.sum(np.zeros(1, np.float32))

    @contextmanager
    def losing_workers(self) -> Iterator[None]:
        """Raise a KmnistError if an operation of the body fails because a worker was lost."""
        try:
            yield
        except LOST_WORKER_ERRORS as error:
            raise KmnistError(
                f"lost {_lost_worker(self.cluster, str(error))}: it ended, froze or cannot be "
                "reached; read what it wrote last, and start all workers again"
            ) from error


def connect(
    cluster: Cluster,
    dataset: Dataset,
    settings: Mapping[str, Any],
    *,
    sharded: bool = False,
    timeout: float = 60.0,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Workers:
    """Connect the workers of a cluster. Call it before TensorFlow starts: before ``build_model``.

    The versions, the settings and the data of all workers are compared. SIGTERM and Ctrl-C take effect
    after the start of TensorFlow, which ends the process with exit code 1 if it takes a minute. A
    SIGTERM is lost if a thread of C++ code takes it then: set OPENBLAS_NUM_THREADS to 1.

    Args:
        cluster: The cluster, of at least two workers.
        dataset: The data set of this worker.
        settings: What has to be equal on all workers, by name: the seed, the batch size and so on.
        sharded: Whether ``dataset`` is a part of the data, a different one on each worker, with the
            same test split.
        timeout: How long to wait for the other workers, in seconds.
        on_wait: Called with a message after a few seconds, if workers are still missing.

    Returns:
        The workers, for :func:`kmnist.train` and :func:`kmnist.evaluate`.

    Raises:
        InputError: Workers differ, two have the same index or the same part, an address cannot be
            used, or TensorFlow has started.
        KmnistError: A worker is missing after ``timeout`` seconds, or has failed.
    """
    checksums = dataset.checksums()
    # Files of IDX folders are named after their splits as well.
    common = [name for name in checksums if not sharded or not re.match("train|validation", name)]
    own = {name: digest for name, digest in checksums.items() if name not in common}
    facts = {
        "kmnist version": _version(),
        "TensorFlow version": tf.__version__,
        "Keras version": keras.__version__,
        "number of GPUs": len(tf.config.list_physical_devices("GPU")),
        **{name.replace("_", " "): value for name, value in settings.items()},
        "way of splitting the data": "a part each" if sharded else "the whole data each",
        "image size": list(dataset.image_shape),
        "class names": list(dataset.class_names),
        **{f"SHA-256 of {name}": checksums[name] for name in common},
    }
    if not sharded:
        facts |= {"number of validation images": len(dataset.validation)}
    part = {"train": len(dataset.train), "validation": len(dataset.validation), "sha256": own}
    said = meet(cluster, facts, part, timeout=timeout, on_wait=on_wait)
    for index, other in enumerate(said[:-1] if sharded else ()):
        if other in said[index + 1 :]:
            raise InputError(
                f"{cluster.name(index)} has the same part of the data as another worker; expected "
                "a different one on each"
            )
    with _ending_in_time():
        strategy = _start(cluster, dataset)
    parts = [(part["train"], part["validation"]) for part in said] if sharded else None
    return Workers(cluster, strategy, parts)


def _lost_worker(cluster: Cluster, message: str) -> str:
    """Return the name of the worker that TensorFlow's message says is lost."""
    # The first one that the message names: it goes on with those that passed the error on.
    found = list(map(int, re.findall(r"/job:worker/(?:replica:0/)?task:([0-9]+)", message)))
    if "CoordinationService/" in message:
        found.insert(0, 0)  # the chief runs that service; the message may name others alone
    if len(cluster.workers) == 2:
        found.append(1 - cluster.index)
    other = next((index for index in found if index != cluster.index), None)
    return "another worker" if other is None else cluster.name(other)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kmnist")
    except PackageNotFoundError:
        return "of a checkout"


def _start(cluster: Cluster, dataset: Dataset) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    limit_threads(math.prod(dataset.image_shape) * len(dataset.class_names))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "at program startup" not in str(error):
            raise
        raise InputError(
            "received a cluster after TensorFlow started; connect the workers first, before a "
            "model is built"
        ) from error


@contextmanager
def _ending_in_time() -> Iterator[None]:
    """End the process in one line and with exit code 1 if the body takes too long.

    TensorFlow's start waits for all workers in C++, for an hour, and no thread of Python runs in the
    meantime: another process writes the line, and the thread of ``faulthandler``, which is none of
    Python, ends this one. TensorFlow also replaces the handler of SIGTERM, which is therefore blocked
    until its own is restored; in this thread, so no other must be there to take it.
    """
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _STOPPING} if main else {}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    command = [sys.executable, "-I", "-S", "-c", _WATCH, f"{_START_TIMEOUT}"]
    with open(os.devnull, "w") as nowhere:
        watch = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - this program
        faulthandler.dump_traceback_later(_START_TIMEOUT + 1, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            watch.communicate()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
