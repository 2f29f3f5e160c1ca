"""The pipeline: every example once an epoch, in an order of seed and epoch, in blocks."""

import numpy as np
import pytest

from kmnist.data import Split
from kmnist.training import batches as pipeline
from kmnist.training.batches import epoch_order, training_blocks


def numbered(examples: int) -> Split:
    """Images of 2×3 that all show their own number, as do their labels."""
    numbers = np.arange(examples)
    images = np.broadcast_to(numbers[:, None, None].astype(np.uint8), (examples, 2, 3))
    return Split(images, numbers)


def epochs_of(split: Split, batch_size: int, **settings) -> list[list[np.ndarray]]:
    """The labels of each epoch's batches; checks on the way that images and labels belong."""
    blocks = training_blocks(split, batch_size, **settings)
    batches: list[list[np.ndarray]] = []
    for number, (images, labels) in enumerate(blocks.dataset.as_numpy_iterator()):
        assert images.dtype == np.uint8
        assert images.shape == (*labels.shape, 2, 3)
        assert np.array_equal(images[:, :, 1, 2], labels)
        if number % blocks.per_epoch == 0:
            batches.append([])
        batches[-1].extend(labels)
    return batches


@pytest.mark.parametrize("examples", [100, 95, 7])
@pytest.mark.parametrize("block_bytes", [1, 6 * 10 * 4, 2**20])
def test_every_example_comes_once_an_epoch(
    examples: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_BLOCK_BYTES", block_bytes)
    epochs = epochs_of(numbered(examples), 10, seed=0, first_epoch=0, epochs=3)
    assert len(epochs) == 3
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(examples))
        assert [len(batch) for batch in batches[:-1]] == [10] * (len(batches) - 1)
        assert len(batches[-1]) == examples % 10 or 10


def test_the_order_is_that_of_the_seed_and_the_epoch() -> None:
    epochs = epochs_of(numbered(50), 10, seed=3, first_epoch=0, epochs=2)
    for epoch, batches in enumerate(epochs):
        assert np.concatenate(batches).tolist() == epoch_order(50, 3, epoch).tolist()


def test_a_resumed_epoch_has_the_batches_of_the_first_time() -> None:
    whole = epochs_of(numbered(50), 10, seed=1, first_epoch=0, epochs=4)
    rest = epochs_of(numbered(50), 10, seed=1, first_epoch=2, epochs=4)
    assert np.array_equal(whole[2:], rest)


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize(
    ("batches", "most", "share"),
    [(550, 133, 110), (550, 1000, 550), (7, 3, 3), (12, 5, 4), (0, 5, 1), (1, 1, 1), (97, 50, 49)],
)
def test_blocks_are_of_one_size_where_that_can_be(batches: int, most: int, share: int) -> None:
    assert pipeline._equal_share(batches, most) == share
