"""Batches: every example once per epoch, in an order of seed and epoch, in blocks."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.training import batches
from kmnist.training.batches import epoch_order, training_blocks


def numbered(examples: int) -> Split:
    """Return images of 2×3 pixels whose pixels are the number of the image, as is its label."""
    numbers = np.arange(examples)
    images = np.broadcast_to(numbers[:, None, None].astype(np.uint8), (examples, 2, 3))
    return Split(images, numbers)


def read_epochs(split: Split, batch_size: int, **settings: Any) -> list[list[NDArray[np.int32]]]:
    """Return the labels of each epoch's batches, after comparing them with the images."""
    blocks = training_blocks(split, batch_size, **settings)
    epochs: list[list[NDArray[np.int32]]] = []
    for number, (images, labels) in enumerate(blocks.dataset.as_numpy_iterator()):
        assert images.dtype == np.uint8
        assert images.shape == (*labels.shape, 2, 3)
        assert np.array_equal(images[:, :, 1, 2], labels)
        if number % blocks.per_epoch == 0:
            epochs.append([])
        epochs[-1].extend(labels)
    assert {len(epoch) for epoch in epochs} == {blocks.steps}
    return epochs


@pytest.mark.parametrize("examples", [100, 95, 7])
@pytest.mark.parametrize("block_bytes", [1, 6 * 10 * 4, 2**20])
def test_every_example_occurs_once_per_epoch(
    examples: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_BLOCK_BYTES", block_bytes)
    epochs = read_epochs(numbered(examples), 10, seed=0, first_epoch=0, epochs=3)
    assert len(epochs) == 3
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(examples))
        assert [len(batch) for batch in epoch[:-1]] == [10] * (len(epoch) - 1)
        assert len(epoch[-1]) == examples % 10 or 10


def test_most_blocks_have_the_usual_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_BLOCK_BYTES", 6 * 10 * 4)
    blocks = training_blocks(numbered(95), 10, seed=0, first_epoch=0, epochs=1)
    shapes = [labels.shape for _, labels in blocks.dataset.as_numpy_iterator()]
    assert blocks.shape == (3, 10)
    assert shapes == [(3, 10), (3, 10), (3, 10), (1, 5)]


def test_the_order_depends_on_the_seed_and_the_epoch() -> None:
    epochs = read_epochs(numbered(50), 10, seed=3, first_epoch=0, epochs=2)
    for number, epoch in enumerate(epochs):
        assert np.concatenate(epoch).tolist() == epoch_order(50, 3, number).tolist()


def test_a_resumed_run_gets_the_batches_of_an_uninterrupted_one() -> None:
    whole = read_epochs(numbered(50), 10, seed=1, first_epoch=0, epochs=4)
    resumed = read_epochs(numbered(50), 10, seed=1, first_epoch=2, epochs=4)
    assert np.array_equal(whole[2:], resumed)


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize(
    ("whole", "most", "share"),
    [(550, 133, 110), (550, 1000, 550), (7, 3, 3), (12, 5, 4), (0, 5, 1), (1, 1, 1), (97, 50, 49)],
)
def test_blocks_are_equal_where_possible(whole: int, most: int, share: int) -> None:
    assert batches._equal_share(whole, most) == share
