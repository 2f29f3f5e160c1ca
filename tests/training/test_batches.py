"""Batches: every example once per epoch, in an order of seed and epoch, in blocks."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist import Dataset
from kmnist.data import Split
from kmnist.training.batches import epoch_order, training_blocks
from kmnist.training.workers import Workers


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


def test_most_blocks_have_the_usual_shape() -> None:
    blocks = training_blocks(numbered(95, 600), 10, 0, range(1))
    shapes = [labels.shape for _, labels, _ in blocks.dataset.as_numpy_iterator()]
    assert blocks.shape == (3, 10)
    assert shapes == [(3, 10), (3, 10), (3, 10), (1, 5)]


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    epochs = read_epochs(numbered(50), 10, 3, range(2))
    for number, epoch in enumerate(epochs):
        assert np.concatenate(epoch).tolist() == epoch_order(50, 3, number).tolist()


def test_a_resumed_run_gets_the_batches_of_an_uninterrupted_one() -> None:
    whole = read_epochs(numbered(50), 10, 1, range(4))
    resumed = read_epochs(numbered(50), 10, 1, range(2, 4))
    assert np.array_equal(whole[2:], resumed)


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_the_workers_are_the_batch(tiny_dataset: Dataset, count: int) -> None:
    split, shares = tiny_dataset.train[:101], []
    for index in range(count):
        workers = Workers(tf.distribute.get_strategy(), index, count)
        blocks = training_blocks(split, 20, 1, range(2), workers).dataset
        shares.append(list(blocks.as_numpy_iterator()))
    whole = training_blocks(split, 20, 1, range(2)).dataset.as_numpy_iterator()
    for (images, labels, size), *parts in zip(whole, *shares, strict=True):
        for index, (own_images, own_labels, whole_size) in enumerate(parts):
            assert np.array_equal(own_images, images[:, index::count])
            assert np.array_equal(own_labels, labels[:, index::count])
            assert whole_size == size
