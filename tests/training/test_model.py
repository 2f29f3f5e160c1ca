"""The model: one Dense softmax layer on uint8 images."""

from typing import Any

import keras
import numpy as np
import pytest

from kmnist import Dataset, InputError, build_model


def test_the_model_is_a_softmax_regression_on_bytes(tiny_dataset: Dataset) -> None:
    model = build_model()
    assert isinstance(model, keras.Sequential)
    assert model.count_params() == 784 * 10 + 10
    images = tiny_dataset.test.images[:5]
    probabilities = model(images).numpy()
    kernel, bias = model.get_weights()
    logits = images.reshape(5, 784) / 255 @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(probabilities, expected, atol=1e-6)


def test_default_weights_are_those_of_glorot() -> None:
    kernel, bias = build_model(seed=1).get_weights()
    assert not bias.any()
    assert 0.9 * (6 / 794) ** 0.5 < np.abs(kernel).max() <= (6 / 794) ** 0.5


def test_random_normal_weights_are_those_of_the_tutorial() -> None:
    kernel, bias = build_model(init="random_normal", seed=1).get_weights()
    assert abs(kernel.mean()) < 0.05
    assert abs(kernel.std() - 1) < 0.05
    assert bias.std() > 0.3
    assert not np.isin(bias, kernel).any()


@pytest.mark.parametrize("init", ["glorot_uniform", "random_normal"])
def test_the_seed_determines_the_weights(init: str) -> None:
    first, again, other = (build_model(init=init, seed=seed).get_weights()[0] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_images_and_classes_may_have_any_size() -> None:
    model = build_model((20, 30), 4)
    assert model(np.zeros((3, 20, 30), np.uint8)).shape == (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init": "zeros"}, "init must be one of glorot_uniform, random_normal, not 'zeros'"),
        ({"image_shape": (28, 28, 1)}, r"must be \(height, width\), not \(28, 28, 1\)"),
        ({"image_shape": (28, 0)}, "image_shape must be an integer from 1 to 2,048, not 0"),
        ({"classes": 1}, "classes must be an integer from 2 to 1,000, not 1"),
        ({"seed": -1}, "seed must be an integer from 0 to 2,147,483,646, not -1"),
    ],
)
def test_arguments_out_of_range_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(**arguments)
