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

__all__ = ["Blocks", "epoch_order", "training_blocks"]

# A block should stay in the processor's cache from gathering to use.
_BLOCK_BYTES: Final = 4 * 2**20


class Blocks(NamedTuple):
    """The batches of all epochs, in blocks.

    Attributes:
        dataset: Yields images uint8 (k, batch, height, width) and labels int32 (k, batch).
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
    split: Split, batch_size: int, *, seed: int, first_epoch: int, epochs: int
) -> Blocks:
    """Return the shuffled batches of the epochs from ``first_epoch`` up to ``epochs``.

    Args:
        split: The examples; each occurs once per epoch.
        batch_size: The number of examples per batch.
        seed: The seed of the order.
        first_epoch: The number of the first epoch, from 0.
        epochs: The number of epochs of the run, those before ``first_epoch`` included.

    Returns:
        The blocks of batches.
    """
    height, width = split.images.shape[1:]
    whole, rest = divmod(len(split), batch_size)
    per_block = _equal_share(whole, most=max(1, _BLOCK_BYTES // (batch_size * height * width)))
    starts = [*range(0, whole * batch_size, per_block * batch_size)]
    if rest:
        starts.append(whole * batch_size)
    stops = [*starts[1:], len(split)]
    labels = split.labels.astype(np.int32)
    order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def gather(epoch: np.int64, block: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        nonlocal order
        if order[0] != epoch:
            order = (int(epoch), epoch_order(len(split), seed, int(epoch)))
        chosen = order[1][starts[block] : stops[block]]
        size = min(batch_size, len(chosen))
        return (
            split.images[chosen].reshape(-1, size, height, width),
            labels[chosen].reshape(-1, size),
        )

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
    )


def _equal_share(whole: int, most: int) -> int:
    """Return a size of at most ``most`` for equal blocks, if less than twice as many blocks do."""
    fewest = max(1, -(-whole // most))
    blocks = next((n for n in range(fewest, 2 * fewest) if whole % n == 0), fewest)
    return max(1, -(-whole // blocks))
