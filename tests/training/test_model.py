"""The model: one Dense softmax layer on uint8 images."""

import numpy as np
import pytest

from kmnist import Dataset, InputError, build_model


def test_it_is_one_softmax_layer_on_bytes(tiny_dataset: Dataset) -> None:
    import keras

    model = build_model()
    assert isinstance(model, keras.Sequential)
    assert model.count_params() == 784 * 10 + 10
    images = tiny_dataset.test.images[:5]
    probabilities = model(images).numpy()
    kernel, bias = model.get_weights()
    logits = images.reshape(5, 784) / 255 @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(probabilities, expected, atol=1e-6)


def test_the_default_start_is_glorots() -> None:
    kernel, bias = build_model(seed=1).get_weights()
    assert not bias.any()
    assert 0.9 * (6 / 794) ** 0.5 < np.abs(kernel).max() <= (6 / 794) ** 0.5


def test_the_tutorials_start_is_normal() -> None:
    kernel, bias = build_model(init="random_normal", seed=1).get_weights()
    assert abs(kernel.mean()) < 0.05
    assert abs(kernel.std() - 1) < 0.05
    assert bias.std() > 0.3
    assert not np.isin(bias, kernel).any()


@pytest.mark.parametrize("init", ["glorot_uniform", "random_normal"])
def test_the_seed_decides_the_start(init: str) -> None:
    first, again, other = (build_model(init=init, seed=seed).get_weights()[0] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_other_shapes_and_classes() -> None:
    model = build_model((20, 30), 4)
    assert model(np.zeros((3, 20, 30), np.uint8)).shape == (3, 4)


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(InputError, match="'zeros'; expected one of glorot_uniform, random_normal"):
        build_model(init="zeros")
