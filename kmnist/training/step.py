"""The same model with its kernels lying the other way in memory, to be trained.

The kernel of a Dense layer is (inputs, units). With ten units, XLA on a CPU needs twice as long for
a product with it, and for its gradient, as for those of its transpose. The arithmetic is the same.
"""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["copy_weights", "transposed"]


class _TransposedDense(keras.layers.Layer):  # type: ignore[misc]
    """``Dense`` with a kernel of (units, inputs): float32 (n, inputs) → (n, units)."""

    def __init__(self, dense: keras.layers.Dense) -> None:
        super().__init__(trainable=dense.trainable)
        self._dense = dense.get_config()
        self._activation = dense.activation
        self._bias: Any = 0.0

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        units = self._dense["units"]
        self._kernel = self.add_weight(shape=(units, input_shape[-1]))
        if self._dense["use_bias"]:
            self._bias = self.add_weight(shape=(units,))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(inputs, self._kernel, transpose_b=True)
        return self._activation(products + self._bias)


def transposed(model: keras.Sequential) -> keras.Sequential:
    """A copy of ``model`` with its weights, the kernel of each Dense layer transposed."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Dense):
            return _TransposedDense(layer)
        return type(layer).from_config(layer.get_config())

    made: keras.Sequential = keras.models.clone_model(model, clone_function=copy)
    copy_weights(model, made)
    return made


def copy_weights(source: keras.Sequential, target: keras.Sequential) -> None:
    """The weights of a model into its transposed copy, or of the copy into the model."""
    for giver, taker in zip(source.layers, target.layers, strict=True):
        weights = giver.get_weights()
        if isinstance(giver, _TransposedDense) is not isinstance(taker, _TransposedDense):
            weights[0] = weights[0].T
        taker.set_weights(weights)
