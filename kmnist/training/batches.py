"""Batches of a split, shuffled every epoch, as a ``tf.data.Dataset``.

Images stay uint8 until they reach the model. Batches are gathered in blocks, each by one NumPy
call from the array or the memory-mapped file, so that no Python runs per example and little per
batch.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.training.workers import Workers

__all__ = ["Blocks", "epoch_order", "training_blocks"]

# The most bytes of images in a worker's share of a block. TensorFlow takes half a millisecond to start
# on a block; three blocks are in memory at a time.
_BLOCK_BYTES: Final = 16 * 2**20


class Blocks(NamedTuple):
    """The batches of all epochs, in blocks.

    Attributes:
        dataset: Yields images uint8 (k, batch, height, width), labels int32 (k, batch), and the
            number of examples per batch, float32 (). With several workers, the images and labels
            are this worker's share of every batch.
        per_epoch: The number of blocks per epoch.
        shape: The usual number of batches per block and of examples per batch. The last block of
            an epoch may have fewer batches, and is one smaller batch if the batch size does not
            divide the examples.
        steps: The number of batches per epoch.
    """

    dataset: tf.data.Dataset
    per_epoch: int
    shape: tuple[int, int]
    steps: int


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
    split: Split, batch_size: int, seed: int, epochs: range, workers: Workers | None = None
) -> Blocks:
    """Return the shuffled batches of some epochs.

    Args:
        split: The examples; each occurs once per epoch.
        batch_size: The number of examples per batch.
        seed: The seed of the order.
        epochs: The numbers of the epochs, from 0.
        workers: The workers, each of which gets its share of every batch; None for one. The batches
            are the same with any number.

    Returns:
        The blocks of batches.
    """
    height, width = split.images.shape[1:]
    examples = len(split)
    whole, rest = divmod(examples, batch_size)
    index, count = (workers.index, workers.count) if workers else (0, 1)
    most = _BLOCK_BYTES * count // (batch_size * height * width)
    per_block = _equal_share(whole, most=max(1, most))
    starts = [*range(0, whole * batch_size, per_block * batch_size)]
    if rest:
        starts.append(whole * batch_size)
    stops = [*starts[1:], examples]
    labels = split.labels.astype(np.int32)
    order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def gather(epoch: np.int64, block: np.int64) -> tuple[Any, ...]:
        nonlocal order
        if order[0] != epoch:
            order = (int(epoch), epoch_order(examples, seed, int(epoch)))
        chosen = order[1][starts[block] : stops[block]]
        batches = chosen.reshape(-1, min(batch_size, len(chosen)))
        rows = batches[:, index::count]
        images = split.images[rows.ravel()].reshape(*rows.shape, height, width)
        return images, labels[rows], np.float32(batches.shape[1])

    @tf.autograph.experimental.do_not_convert
    def block(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        images, classes, size = tf.numpy_function(
            gather,
            [number // len(starts), number % len(starts)],
            (tf.uint8, tf.int32, tf.float32),
        )
        images.set_shape((None, None, height, width))
        classes.set_shape((None, None))
        size.set_shape(())
        return images, classes, size

    numbers = tf.data.Dataset.range(epochs.start * len(starts), epochs.stop * len(starts))
    return Blocks(
        dataset=numbers.map(block).prefetch(2),
        per_epoch=len(starts),
        shape=(per_block, batch_size),
        steps=whole + bool(rest),
    )


def _equal_share(whole: int, most: int) -> int:
    """Return a size of at most ``most`` for equal blocks, if less than twice as many blocks do."""
    fewest = max(1, -(-whole // most))
    blocks = next((n for n in range(fewest, 2 * fewest) if whole % n == 0), fewest)
    return max(1, -(-whole // blocks))
