"""The training step: SGD on a copy of the model whose Dense kernels are transposed.

The kernel of a Dense layer is (inputs, units). With ten units, XLA on a CPU takes twice as long for
the product with it, and for its gradient, as for those of its transpose. The arithmetic is the
same.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.errors import InputError
from kmnist.training.workers import Workers

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
        strategy: tf.distribute.Strategy,
        workers: Workers | None = None,
        compiled: tuple[int, int] | None = None,
    ) -> None:
        """Copy the model to the devices.

        Args:
            model: The model to start from; it is not changed.
            learning_rate: The learning rate of SGD.
            strategy: The strategy over the devices that share the batches.
            workers: The workers whose devices they are; None for one.
            compiled: The numbers of batches and examples of the blocks to compile the step for with
                XLA, unless there are several devices; None to compile for none.
        """
        self._rate = learning_rate
        self._strategy = strategy
        self._workers = workers.count if workers else 1
        with strategy.scope():
            self._model = transposed(model)
        # Without AutoGraph, which fails on Python 3.13 where warnings are errors.
        self._traced = tf.function(self._run, autograph=False, reduce_retracing=True)
        self._compiled = tf.function(self._run, autograph=False, jit_compile=True)
        self._compiled_shape = compiled if strategy.num_replicas_in_sync == 1 else None

    def run(
        self, blocks: Iterable[tuple[tf.Tensor, ...]], on_block: Callable[[int], None] | None = None
    ) -> tuple[float, float]:
        """Make an update for each batch of the blocks, in order.

        Args:
            blocks: Images, labels and batch sizes of :func:`kmnist.training.batches.training_blocks`.
            on_block: Called after each block with the number of batches so far, if set.

        Returns:
            The sum of the costs of the examples of this and all other workers, and the number
            classified correctly, each with the weights before the update of its batch.
        """
        costs, hits, done = [], [], 0
        for images, labels, size in blocks:
            usual = images.shape[:2] == self._compiled_shape
            update = self._compiled if usual else self._traced
            cost, hit = update(images, labels, size)
            costs.append(cost)
            hits.append(hit)
            done += images.shape[0]
            if on_block:
                on_block(done)
        # Converted at the end, because a conversion waits for the device.
        return float(sum(costs)), float(sum(hits))

    def copy_weights_to(self, model: keras.Model) -> None:
        """Copy the trained weights to the model that the step started from."""
        copy_weights(self._model, model)

    def _run(
        self, images: tf.Tensor, labels: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        strategy, variables = self._strategy, self._model.trainable_variables
        devices = strategy.num_replicas_in_sync // self._workers
        if self._workers == 1:
            size = tf.cast(tf.shape(labels)[1], tf.float32)  # the same, as a constant for XLA

        def pack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = slice(replica % devices, None, devices)
            return self._gradients(images[share], labels[share], size)

        def update(batch: tf.Tensor, cost: tf.Tensor, hits: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # One all-reduce a step: each takes as long as the network's round trip, whatever its size.
            parts = strategy.run(pack, (images[batch], labels[batch]))
            total = tf.distribute.ReduceOp.SUM
            packed = strategy.extended.reduce_to(total, parts, destinations=variables[0].value)
            start = 0
            for variable in variables:
                part = slice(start, start + variable.shape.num_elements())
                step = partial(_descend, rate=self._rate, part=part, limit=variable.constraint)
                strategy.extended.update(variable.value, step, args=(packed,))
                start = part.stop
            figures = strategy.experimental_local_results(packed)[0][start:]
            return batch + 1, cost + figures[0], hits + figures[1]

        batches = tf.shape(images)[0]
        _, cost, hits = tf.while_loop(lambda batch, *_: batch < batches, update, (0, 0.0, 0.0))
        return cost, hits

    def _gradients(self, images: tf.Tensor, labels: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Return the gradients of the sum of the costs over ``size``, that sum, and the hits."""
        with tf.GradientTape() as tape:
            probabilities = self._model(images, training=True)
            one_hot = tf.one_hot(labels, probabilities.shape[-1])
            cost = tf.reduce_sum(keras.losses.categorical_crossentropy(one_hot, probabilities))
            mean = cost / size
            if self._model.losses:  # of regularizers
                mean += sum(self._model.losses) / self._strategy.num_replicas_in_sync
        gradients = tape.gradient(mean, self._model.trainable_variables)
        predicted = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        hits = tf.reduce_sum(tf.cast(predicted == labels, tf.float32))
        return tf.concat([*(tf.reshape(each, [-1]) for each in gradients), [cost, hits]], axis=0)


def _descend(
    variable: tf.Variable, packed: tf.Tensor, *, rate: float, part: slice, limit: Any
) -> None:
    """Subtract ``rate`` times a part of the packed gradients; apply the constraint, if any."""
    variable.assign_sub(tf.reshape(packed[part], variable.shape) * rate)
    if limit is not None:
        variable.assign(limit(variable))


class _TransposedDense(keras.layers.Dense):  # type: ignore[misc]
    """``Dense`` with a kernel (units, inputs), from float32 (n, inputs) to (n, units)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._transposed = self.add_weight(shape=(self.units, input_shape[-1]))
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        products = tf.matmul(inputs, self._transposed, transpose_b=True)
        return self.activation(products + self.bias if self.use_bias else products)


def transposed(model: keras.Model) -> keras.Model:
    """Return a copy of a model, with its weights, whose Dense kernels are (units, inputs)."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = _TransposedDense if _is_plain(layer) else type(layer)
        return kind.from_config(layer.get_config())

    try:
        result: keras.Model = keras.models.clone_model(model, clone_function=copy)
    except TypeError as error:  # a subclass whose constructor does not take its configuration
        raise InputError(f"train this model with its method fit: {one_line(error)}") from error
    copy_weights(model, result)
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
