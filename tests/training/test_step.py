"""The training step, and the transposed copy that it trains."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kmnist import Dataset
from kmnist.training.model import build_model
from kmnist.training.step import TrainingStep, copy_weights, transposed

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def several_layers() -> keras.Sequential:
    return keras.Sequential(
        [
            keras.Input((28, 28), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.Conv2D(3, 5, strides=3, kernel_initializer=keras.initializers.Ones()),
            keras.layers.Flatten(),
            keras.layers.Dense(7, activation="tanh", use_bias=False),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("build", [build_model, several_layers])
def test_a_transposed_copy_predicts_like_the_model_and_returns_its_weights(
    build: Callable[[], keras.Sequential],
) -> None:
    model = build()
    copy = transposed(model)
    np.testing.assert_allclose(copy(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)
    kernel = model.layers[-1].kernel
    assert copy.layers[-1].get_weights()[0].shape == tuple(reversed(kernel.shape))

    for weight in copy.trainable_variables:
        weight.assign_add(np.full(weight.shape, 1e-3))
    before = [weight.copy() for weight in model.get_weights()]
    copy_weights(copy, model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old + 1e-3, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(copy(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)


def blocks_of(dataset: Dataset) -> tuple[Any, Any]:
    """Return the first 300 training examples as three batches of 100."""
    part = dataset.train[:300]
    labels = part.labels.astype(np.int32)
    return tf.constant(part.images.reshape(3, 100, 28, 28)), tf.constant(labels.reshape(3, 100))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_block_makes_one_update_per_batch(tiny_dataset: Dataset, compiled: bool) -> None:
    model = build_model()
    images, labels = blocks_of(tiny_dataset)
    at_once = TrainingStep(model, 0.1, [], compiled=compiled)
    cost, hits = at_once.run(images, labels, size=100, usual=True)
    one_by_one = TrainingStep(model, 0.1, [], compiled=False)
    parts = [
        one_by_one.run(images[i : i + 1], labels[i : i + 1], size=100, usual=False)
        for i in range(3)
    ]
    assert float(cost) == pytest.approx(sum(float(part[0]) for part in parts), rel=1e-5)
    assert int(hits) == sum(int(part[1]) for part in parts)

    start, trained = model.get_weights(), build_model(seed=1)
    at_once.copy_weights_to(trained)
    expected = build_model(seed=2)
    one_by_one.copy_weights_to(expected)
    for weight, same, initial in zip(
        trained.get_weights(), expected.get_weights(), start, strict=True
    ):
        np.testing.assert_allclose(weight, same, rtol=1e-4, atol=1e-6)
        assert not np.allclose(weight, initial)
    assert all(np.array_equal(*pair) for pair in zip(start, model.get_weights(), strict=True))


@pytest.mark.parametrize("lost", [tf.errors.UnavailableError, tf.errors.DeadlineExceededError])
def test_a_worker_that_is_lost_meanwhile_is_no_fault_of_the_model(
    lost: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(*_: Any, **__: Any) -> Any:
        raise lost(None, None, "Collective ops is aborted")

    monkeypatch.setattr(keras.models, "clone_model", copy)
    with pytest.raises(lost):
        transposed(build_model())
