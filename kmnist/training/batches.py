"""Batches of a split, shuffled every epoch, as a ``tf.data.Dataset``.

Images stay uint8 until they reach the model. Batches are gathered in blocks, each by one NumPy
call from the array or the memory-mapped file, so that no Python runs per example and little per
batch.
"""

from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Split

__all__ = ["Blocks", "Share", "epoch_order", "training_blocks"]

# The most bytes of images in a worker's share of a block. TensorFlow takes half a millisecond to start
# on a block; three blocks are in memory at a time.
_BLOCK_BYTES: Final = 16 * 2**20


class Share(NamedTuple):
    """Which examples of every batch this worker reads; by default all.

    Attributes:
        worker: The index of this worker.
        workers: The number of workers.
        sizes: The number of examples of each worker's part of the data, if the split is this
            worker's part; None if it is the whole data.
    """

    worker: int = 0
    workers: int = 1
    sizes: tuple[int, ...] | None = None


_ALL: Final = Share()


class Blocks(NamedTuple):
    """The batches of all epochs, in blocks.

    Attributes:
        dataset: Yields images uint8 (k, batch, height, width) and labels int32 (k, batch). With
            several workers it yields this worker's share of every batch; the label -1 fills up
            shares that are smaller than the largest of the block.
        per_epoch: The number of blocks per epoch.
        shape: The usual number of batches per block and of examples per batch. The last block of
            an epoch may have fewer batches, and is one smaller batch if the batch size does not
            divide the examples.
        steps: The number of batches per epoch.
        examples: The number of examples per epoch, of all workers.
    """

    dataset: tf.data.Dataset
    per_epoch: int
    shape: tuple[int, int]
    steps: int
    examples: int

    def batch_size(self, block: int) -> int:
        """Return the number of examples per batch, of all workers, in a block of an epoch."""
        size = self.shape[1]
        return (self.examples % size or size) if block == self.per_epoch - 1 else size


def epoch_order(examples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order in which an epoch visits the examples.

    It depends on the arguments alone, so a resumed run gets the batches that the interrupted run
    would have got. (The sequence of ``Dataset.shuffle`` starts over in a new process.)

    Args:
        examples: The number of examples.
        seed: The seed of the run.
        epoch: The number of the epoch, from 0.

    Returns:
        A permutation, int64 (examples,).
    """
    return np.random.default_rng((seed, epoch)).permutation(examples)


def training_blocks(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    first_epoch: int,
    epochs: int,
    share: Share = _ALL,
) -> Blocks:
    """Return the shuffled batches of the epochs from ``first_epoch`` up to ``epochs``.

    Args:
        split: The examples; each occurs once per epoch.
        batch_size: The number of examples per batch.
        seed: The seed of the order.
        first_epoch: The number of the first epoch, from 0.
        epochs: The number of epochs of the run, those before ``first_epoch`` included.
        share: The share of this worker. The batches are the same with any number of workers.

    Returns:
        The blocks of batches.
    """
    height, width = split.images.shape[1:]
    examples = sum(share.sizes) if share.sizes else len(split)
    first = sum(share.sizes[: share.worker]) if share.sizes else 0
    whole, rest = divmod(examples, batch_size)
    most = _BLOCK_BYTES * share.workers // (batch_size * height * width)
    per_block = _equal_share(whole, most=max(1, most))
    starts = [*range(0, whole * batch_size, per_block * batch_size)]
    if rest:
        starts.append(whole * batch_size)
    stops = [*starts[1:], examples]
    labels = split.labels.astype(np.int32)
    order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def gather(epoch: np.int64, block: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        nonlocal order
        if order[0] != epoch:
            order = (int(epoch), epoch_order(examples, seed, int(epoch)))
        chosen = order[1][starts[block] : stops[block]]
        rows = chosen.reshape(-1, min(batch_size, len(chosen)))
        if share.sizes:
            return gather_part(rows - first)
        rows = rows[:, share.worker :: share.workers]
        return split.images[rows.ravel()].reshape(*rows.shape, height, width), labels[rows]

    def gather_part(rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        own = (rows >= 0) & (rows < len(split))
        # The examples of this part move to the front of each batch, in their order.
        places = np.argsort(~own, axis=1, kind="stable")[:, : own.sum(axis=1).max()]
        own = np.take_along_axis(own, places, axis=1)
        rows = np.where(own, np.take_along_axis(rows, places, axis=1), 0)
        images = split.images[rows.ravel()].reshape(*rows.shape, height, width)
        return images, np.where(own, labels[rows], np.int32(-1))

    @tf.autograph.experimental.do_not_convert
    def block(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, classes = tf.numpy_function(
            gather, [number // len(starts), number % len(starts)], (tf.uint8, tf.int32)
        )
        images.set_shape((None, None, height, width))
        classes.set_shape((None, None))
        return images, classes

    numbers = tf.data.Dataset.range(first_epoch * len(starts), epochs * len(starts))
    return Blocks(
        dataset=numbers.map(block).prefetch(2),
        per_epoch=len(starts),
        shape=(per_block, batch_size),
        steps=whole + bool(rest),
        examples=examples,
    )


def _equal_share(whole: int, most: int) -> int:
    """Return a size of at most ``most`` for equal blocks, if less than twice as many blocks do."""
    fewest = max(1, -(-whole // most))
    blocks = next((n for n in range(fewest, 2 * fewest) if whole % n == 0), fewest)
    return max(1, -(-whole // blocks))
