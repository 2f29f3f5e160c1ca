"""Batches: every example once per epoch, in an order of seed and epoch, in blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.training.batches import epoch_order, training_blocks


def numbered(examples: int, size: int = 3) -> Split:
    """Return images whose pixels are the number of the image, as is its label."""
    numbers = np.arange(examples)
    images = np.broadcast_to(numbers[:, None, None].astype(np.uint8), (examples, size, size))
    return Split(images, numbers)


def read_epochs(
    split: Split, batch_size: int, seed: int, epochs: range
) -> list[list[NDArray[np.int32]]]:
    """Return the labels of each epoch's batches, after comparing them with the images."""
    blocks = training_blocks(split, batch_size, seed, epochs)
    read: list[list[NDArray[np.int32]]] = []
    for number, (images, labels, size) in enumerate(blocks.dataset.as_numpy_iterator()):
        assert images.dtype == np.uint8
        assert images.shape == (*labels.shape, *split.images.shape[1:])
        assert np.array_equal(images[:, :, 1, 2], labels)
        assert size == labels.shape[1]
        if number % blocks.per_epoch == 0:
            read.append([])
        read[-1].extend(labels)
    assert {len(epoch) for epoch in read} == {blocks.steps}
    return read


@pytest.mark.parametrize("examples", [100, 95, 7])
@pytest.mark.parametrize("size", [3, 600])  # a block of all batches, and of four
def test_every_example_occurs_once_per_epoch(examples: int, size: int) -> None:
    epochs = read_epochs(numbered(examples, size), 10, 0, range(2))
    assert len(epochs) == 2
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(examples))
        assert [len(batch) for batch in epoch[:-1]] == [10] * (len(epoch) - 1)
        assert len(epoch[-1]) == examples % 10 or 10


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    epochs = read_epochs(numbered(50), 10, 3, range(2))
    for number, epoch in enumerate(epochs):
        assert np.concatenate(epoch).tolist() == epoch_order(50, 3, number).tolist()
