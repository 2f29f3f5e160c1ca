"""The training step: SGD on a copy of the model whose Dense kernels are transposed.

The kernel of a Dense layer is (inputs, units). With ten units, XLA on a CPU takes twice as long for
the product with it, and for its gradient, as for those of its transpose. The arithmetic is the
same.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.errors import InputError
from kmnist.training.workers import LOST_WORKER_ERRORS, Workers

__all__ = ["TrainingStep", "copy_weights", "read_state", "transposed", "write_state"]


class TrainingStep:
    """One SGD update per batch, for many batches per call.

    On several devices, of one or several workers, each replica takes its share of every batch, and
    the gradients are summed: an update is the same on any number of devices, up to rounding.
    """

    def __init__(
        self,
        model: keras.Model,
        learning_rate: float,
        devices: Sequence[str],
        *,
        compiled: bool,
        workers: Workers | None = None,
    ) -> None:
        """Copy the model to the devices.

        Args:
            model: The model to start from; it is not changed.
            learning_rate: The learning rate of SGD.
            devices: The devices to share the batches. With one or none, TensorFlow places the
                operations.
            compiled: Whether to compile the step for blocks of the usual shape with XLA, which does
                not support several devices.
            workers: The workers that share the batches, whose devices are used; None for one.
        """
        several = workers is not None or len(devices) > 1
        if workers is not None:
            self._strategy = workers.strategy
        else:
            self._strategy = (
                tf.distribute.MirroredStrategy(devices) if several else tf.distribute.get_strategy()
            )
        self._replicas = workers.devices if workers else self._strategy.num_replicas_in_sync
        self._rate = learning_rate
        self._several = several
        with self._strategy.scope():
            self._model = transposed(model)
            self._optimizer = keras.optimizers.SGD(learning_rate)
            self._optimizer.build(self._model.trainable_variables)
        # Without AutoGraph, which fails on Python 3.13 where warnings are errors.
        run = self._run_shared if several else self._run
        self._traced = tf.function(run, autograph=False, reduce_retracing=True)
        self._compiled = self._traced
        if compiled and not several:
            self._compiled = tf.function(run, autograph=False, jit_compile=True)

    def run(
        self, images: tf.Tensor, labels: tf.Tensor, *, size: int, usual: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Make an update for each batch of a block, in order.

        Args:
            images: uint8 (k, batch, height, width).
            labels: int32 (k, batch).
            size: The number of examples per batch, of all workers.
            usual: Whether the block has the shape of most blocks. XLA compiles for one shape.

        Returns:
            The sum of the costs of the examples, float32 (), and the number of examples classified
            correctly, int32 (), each with the weights before the update of its batch.
        """
        sized = tf.constant(size, tf.float32)
        cost, hits = (self._compiled if usual else self._traced)(images, labels, sized)
        return cost, hits

    def copy_weights_to(self, model: keras.Model) -> None:
        """Copy the trained weights to the model that the step started from."""
        copy_weights(self._model, model)

    def _run(
        self, images: tf.Tensor, labels: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.cast(tf.shape(labels)[1], tf.float32)  # the same, as a constant for XLA

        def update(batch: tf.Tensor, cost: tf.Tensor, hits: tf.Tensor) -> tuple[tf.Tensor, ...]:
            gradients, *parts = self._gradients(images[batch], labels[batch], size)
            self._optimizer.apply(gradients, self._model.trainable_variables)
            return batch + 1, cost + parts[0], hits + parts[1]

        return self._loop(images, update)

    def _run_shared(
        self, images: tf.Tensor, labels: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        variables = self._model.trainable_variables

        def pack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            if self._replicas > 1:
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                share = slice(replica % self._replicas, None, self._replicas)
                images, labels = images[share], labels[share]
            gradients, cost, hits = self._gradients(images, labels, size)
            flat = [tf.reshape(gradient, [-1]) for gradient in gradients]
            return tf.concat([*flat, [cost, tf.cast(hits, tf.float32)]], axis=0)

        def update(batch: tf.Tensor, cost: tf.Tensor, hits: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # One all-reduce a step: each takes as long as the network's round trip, whatever its size.
            parts = self._strategy.run(pack, (images[batch], labels[batch]))
            extended, total = self._strategy.extended, tf.distribute.ReduceOp.SUM
            packed = extended.reduce_to(total, parts, destinations=variables[0].value)
            start = 0
            for variable in variables:
                stop = start + variable.shape.num_elements()
                part, limit = slice(start, stop), variable.constraint
                step = partial(_descend, rate=self._rate, part=part, limit=limit)
                extended.update(variable.value, step, args=(packed,))
                start = stop
            figures = self._strategy.experimental_local_results(packed)[0][start:]
            return batch + 1, cost + figures[0], hits + tf.cast(figures[1], tf.int32)

        return self._loop(images, update)

    @staticmethod
    def _loop(images: tf.Tensor, update: Any) -> tuple[tf.Tensor, tf.Tensor]:
        batches = tf.shape(images)[0]
        _, cost, hits = tf.while_loop(lambda batch, *_: batch < batches, update, (0, 0.0, 0))
        return cost, hits

    def _gradients(
        self, images: tf.Tensor, labels: tf.Tensor, size: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Return the gradients of the sum of the costs over ``size``, that sum, and the hits."""
        with tf.GradientTape() as tape:
            probabilities = self._model(images, training=True)
            one_hot = tf.one_hot(labels, probabilities.shape[-1])
            costs = keras.losses.categorical_crossentropy(one_hot, probabilities)
            if self._several:
                # Labels of -1 fill up a share. Their cost is zero, but not the gradient of it, for
                # which TensorFlow assumes that each row of one_hot sums to 1.
                costs *= tf.cast(labels >= 0, tf.float32)
            cost = tf.reduce_sum(costs)
            mean = cost / size
            if self._model.losses:  # of regularizers
                mean += sum(self._model.losses) / self._strategy.num_replicas_in_sync
        gradients = tape.gradient(mean, self._model.trainable_variables)
        predicted = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        return gradients, cost, tf.reduce_sum(tf.cast(predicted == labels, tf.int32))


def _descend(
    variable: tf.Variable, packed: tf.Tensor, *, rate: float, part: slice, limit: Any
) -> None:
    """Subtract ``rate`` times a part of the packed gradients; apply the constraint, if any."""
    variable.assign_sub(tf.reshape(packed[part], variable.shape) * rate)
    if limit is not None:
        variable.assign(limit(variable))


class _TransposedDense(keras.layers.Layer):  # type: ignore[misc]
    """``Dense`` with a kernel (units, inputs), from float32 (n, inputs) to (n, units)."""

    def __init__(self, dense: keras.layers.Dense) -> None:
        super().__init__(trainable=dense.trainable, dtype=dense.dtype_policy)
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


def transposed(model: keras.Model) -> keras.Model:
    """Return a copy of a model, with its weights, whose Dense kernels are (units, inputs)."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if _is_plain(layer):
            return _TransposedDense(layer)
        return type(layer).from_config(layer.get_config())

    try:
        result: keras.Model = keras.models.clone_model(model, clone_function=copy)
        copy_weights(model, result)
    except LOST_WORKER_ERRORS:
        raise  # the variables are sent to the other workers
    except Exception as error:  # whatever the code of a layer raises
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"received a model that cannot be copied ({type(error).__name__}: {reason}); expected "
            "layers with get_config, and no subclass of keras.Model; train it with its method fit"
        ) from error
    return result


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the state of a model to its transposed copy, or back."""
    for source_layer, target_layer in zip(source.layers, target.layers, strict=True):
        state = read_state(source_layer)
        if isinstance(source_layer, _TransposedDense) != isinstance(target_layer, _TransposedDense):
            state[0] = state[0].T
        write_state(target_layer, state)


def read_state(layer: keras.layers.Layer) -> list[NDArray[Any]]:
    """Return the weights of a layer or model, and the state of its random generators."""
    return [variable.numpy() for variable in layer.variables]


def write_state(layer: keras.layers.Layer, state: Sequence[NDArray[Any]]) -> None:
    """Replace what :func:`read_state` returns."""
    for variable, values in zip(layer.variables, state, strict=True):
        variable.assign(values)


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is a Dense layer without regularizers and constraints."""
    return type(layer) is keras.layers.Dense and not any(
        value
        for name, value in layer.get_config().items()
        if name.endswith(("regularizer", "constraint"))
    )
