"""A split of images → ``tf.data.Dataset``, in batches, shuffled anew each epoch.

The images stay uint8 until they are in the model. Batches travel in blocks of many, gathered by
one NumPy call from the array or the memory-mapped file: there is no Python and no graph function
per example, and little of either per batch.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Split

__all__ = ["Blocks", "epoch_order", "training_blocks"]

# A block should stay in the processor's cache between being gathered and being used.
_BLOCK_BYTES = 4 * 2**20


class Blocks(NamedTuple):
    """The batches of all epochs, in blocks.

    Attributes:
        dataset: Yields images uint8 (k, batch, height, width) and labels int32 (k, batch).
        per_epoch: How many blocks make one epoch.
        batches: k of most blocks. The last of an epoch may have fewer, and if the batch size does
            not divide the examples, it is one smaller batch.
    """

    dataset: tf.data.Dataset
    per_epoch: int
    batches: int


def epoch_order(examples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which ``epoch`` visits the examples: a permutation, int64 (examples,).

    A function of the seed and the epoch alone, so a resumed run goes on with the very batches
    that the interrupted one would have seen (``Dataset.shuffle`` starts its sequence anew in a
    new process).
    """
    return np.random.default_rng((seed, epoch)).permutation(examples)


def training_blocks(
    split: Split, batch_size: int, *, seed: int, first_epoch: int, epochs: int
) -> Blocks:
    """Shuffled batches for the epochs from ``first_epoch`` up to ``epochs``.

    Every example comes once an epoch.
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

    def block(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, classes = tf.numpy_function(
            gather, [step // len(starts), step % len(starts)], (tf.uint8, tf.int32)
        )
        images.set_shape((None, None, height, width))
        classes.set_shape((None, None))
        return images, classes

    steps = tf.data.Dataset.range(first_epoch * len(starts), epochs * len(starts))
    return Blocks(steps.map(block).prefetch(2), len(starts), per_block)


def _equal_share(whole: int, most: int) -> int:
    """How many a block if they are shared out equally, as far as a few more blocks allow it."""
    fewest = max(1, -(-whole // most))
    blocks = next((n for n in range(fewest, 2 * fewest) if whole % n == 0), fewest)
    return max(1, -(-whole // blocks))
