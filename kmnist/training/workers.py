"""Several workers: the cluster that ``TF_CONFIG`` describes, connected by TensorFlow.

A worker is a process with an address, ``host:port``; worker 0, the chief, alone writes files. Every
launcher describes the cluster, and which of its workers a process is, in ``TF_CONFIG``.

TensorFlow is imported on first use, so that a command can read the cluster before that.
"""

import faulthandler
import hashlib
import json
import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.data import Dataset
from kmnist.errors import InputError, KmnistError

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Cluster", "Workers", "connect", "read_cluster", "reporting_lost_worker"]

_EXAMPLE: Final = (
    '{"cluster": {"worker": ["a:12345", "b:12345"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        count: The number of workers.
        index: The index of this process; 0 is the chief.
    """

    count: int
    index: int


def read_cluster() -> Cluster | None:
    """Read ``TF_CONFIG``.

    Returns:
        The cluster; None if there is only one worker.

    Raises:
        InputError: ``TF_CONFIG`` is malformed, or this process is neither a chief nor a worker.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        jobs = dict(config.get("cluster") or {})
        addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
        if len(addresses) < 2:
            return None
        own = jobs[config["task"]["type"]][int(config["task"]["index"])]
        return Cluster(len(addresses), addresses.index(own))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            "TF_CONFIG must list the workers and say which of them this process is, as in "
            f"{_EXAMPLE}, not {one_line(text)[:200]}"
        ) from error


@dataclass(frozen=True)
class Workers:
    """The connected workers of a cluster, made by :func:`connect`.

    Attributes:
        strategy: The ``tf.distribute.MultiWorkerMirroredStrategy`` over the devices of all workers.
        index: The index of this worker.
        count: The number of workers.
    """

    strategy: "tf.distribute.Strategy"
    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the chief, which alone writes."""
        return self.index == 0

    def sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum of the arrays of all workers, which have one shape."""
        with reporting_lost_worker(self):
            total: NDArray[np.float32] = self._sum(values).numpy()
            return total

    @cached_property
    def _sum(self) -> "tf.types.experimental.PolymorphicFunction":
        import tensorflow as tf

        devices = self.strategy.num_replicas_in_sync // self.count

        def own(values: tf.Tensor) -> tf.Tensor:
            # The other devices of a worker add nothing.
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(replica % devices, 0), values, tf.zeros_like(values))

        def total(values: tf.Tensor) -> tf.Tensor:
            parts = self.strategy.run(own, (values,))
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

        return tf.function(total, autograph=False, reduce_retracing=True)

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes of the chief; those of the others are not used."""
        own = np.frombuffer(data if self.is_chief else b"", np.uint8).astype(np.float32)
        size = np.frombuffer(len(own).to_bytes(8, "little"), np.uint8).astype(np.float32)
        size = self.sum(size).astype(np.uint8).view("<u8")[0]
        shared = self.sum(own if self.is_chief else np.zeros(size, np.float32))
        return shared.astype(np.uint8).tobytes()

    def wait(self) -> None:
        """Wait until all workers have called this, as each has to before it ends.

        A worker that ends earlier counts as lost.
        """
        self.sum(np.zeros(1, np.float32))
        # A worker that has its sum must not end before the others have theirs.
        with suppress(KmnistError):
            self.sum(np.zeros(1, np.float32))


def connect(
    dataset: Dataset, settings: Mapping[str, Any], *, timeout: float = 60.0
) -> Workers | None:
    """Connect the workers of ``TF_CONFIG``. Call it before a model is built.

    While TensorFlow starts it waits for all workers, and no Python runs: SIGTERM and Ctrl-C take
    effect afterwards, and the process ends with exit code 1 when ``timeout`` is over.

    Args:
        dataset: The data set, the same on all workers.
        settings: Further values that have to be the same on all workers, by the same names: those
            of :func:`kmnist.train`, and whatever the initial weights depend on.
        timeout: How long to wait for the other workers, in seconds.

    Returns:
        The workers, for :func:`kmnist.train`; None if there is only one.

    Raises:
        InputError: ``TF_CONFIG`` is malformed, TensorFlow cannot use it, or the workers differ in
            their data, settings or versions.
        KmnistError: Another worker was lost.
    """
    cluster = read_cluster()
    if cluster is None:
        return None
    from kmnist.training.model import limit_threads

    limit_threads(math.prod(dataset.image_shape) * len(dataset.class_names))
    facts = _facts(dataset, settings)
    with _exiting_after(timeout):
        workers = Workers(_start(), cluster.index, cluster.count)
        _compare(workers, facts)
    return workers


@contextmanager
def reporting_lost_worker(workers: Workers | None) -> Iterator[None]:
    """Raise a KmnistError if the body fails because another worker was lost."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
        raise  # of this worker
    except tf.errors.OpError as error:
        if workers is None:
            raise
        raise KmnistError(
            "lost another worker: it ended, froze or cannot be reached; start all workers again"
        ) from error


@contextmanager
def _exiting_after(timeout: float) -> Iterator[None]:
    """End the process with exit code 1 if the body takes too long; keep the handlers of signals.

    TensorFlow's start waits for all workers in C++, for an hour, and holds the interpreter's lock, so
    only the thread of ``faulthandler`` can end it. TensorFlow also replaces the handler of SIGTERM:
    the signal is blocked until Python's handler is restored.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(timeout, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            if is_main:  # no other thread may set handlers
                signal.signal(signal.SIGTERM, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _start() -> "tf.distribute.Strategy":
    import tensorflow as tf

    wrong = (RuntimeError, ValueError, tf.errors.InvalidArgumentError, tf.errors.UnknownError)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except wrong as error:  # an address without a port, a port in use, after a model was built
        raise InputError(f"TensorFlow cannot join the cluster: {one_line(error)}") from error


def _facts(dataset: Dataset, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be the same on all workers, by name."""
    from kmnist import __version__

    data = dataset.checksums(), dataset.image_shape, len(dataset.train), len(dataset.validation)
    facts = {"kmnist version": __version__, "data": data, "class names": dataset.class_names}
    return facts | {name.replace("_", " "): value for name, value in settings.items()}


def _compare(workers: Workers, facts: Mapping[str, Any]) -> None:
    """Refuse workers that differ, which would train a wrong model, by one sum of hashes."""
    digests = [hashlib.sha256(repr(value).encode()).digest() for value in facts.values()]
    table = np.zeros((workers.count, len(facts), 16), np.float32)
    # Integers of 16 bits are exact in float32.
    table[workers.index] = [np.frombuffer(digest, np.uint16) for digest in digests]
    table = workers.sum(table)
    for index, fact, _ in np.argwhere(table != table[0])[:1]:
        raise InputError(
            f"worker {index} differs from worker 0 in its {list(facts)[fact]}: start all workers "
            "with the same"
        )
