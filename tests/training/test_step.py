import keras
import numpy as np
import pytest

from kmnist.training.model import build_model
from kmnist.training.step import copy_weights, transposed

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


def several_layers():
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


@pytest.mark.parametrize("make", [build_model, several_layers])
def test_a_transposed_copy_answers_as_the_model_and_gives_its_weights_back(make) -> None:
    model = make()
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
