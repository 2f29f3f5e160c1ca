"""Train a model, and measure it: SGD step by step → :class:`Run`, :class:`Evaluation`."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kmnist.data import Dataset, Split
from kmnist.errors import InputError
from kmnist.metrics import Epoch, Evaluation
from kmnist.training.batches import training_blocks
from kmnist.training.checkpoint import Checkpoint
from kmnist.training.step import copy_weights, transposed

__all__ = ["Run", "evaluate", "train", "weights_digest"]

# XLA makes a step half as long and takes a second to compile. The number of steps in an epoch
# decides, not that of the epochs, so that a run resumed to more of them takes the same steps.
_WORTH_COMPILING = 500

# How many images are evaluated at once: their float32 pixels should not fill the memory.
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        model: The trained model.
        dataset: What it was trained on.
        history: One entry an epoch.
        settings: The flags that shaped it: epochs, batch size, learning rate, seed, devices.
        weights_digest: See :func:`weights_digest`.
    """

    model: keras.Sequential
    dataset: Dataset
    history: tuple[Epoch, ...]
    settings: dict[str, Any]
    weights_digest: str


def train(
    model: keras.Sequential,
    dataset: Dataset,
    *,
    epochs: int = 15,
    batch_size: int = 100,
    learning_rate: float = 0.1,
    seed: int = 0,
    devices: Sequence[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: str | os.PathLike[str] | None = None,
    on_block: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Trains ``model`` in place with categorical cross-entropy and SGD.

    Each batch is one update with the mean gradient of its examples. The test split is not
    touched. The same model, data, settings and machine give bit-identical weights.

    Args:
        model: From :func:`kmnist.build_model`, for the data set's image shape and classes.
        dataset: Its ``train`` split is learned from, its ``validation`` measured each epoch.
        epochs: How often every training example is seen.
        batch_size: Examples an update.
        learning_rate: Of SGD.
        seed: Of the order of the examples.
        devices: Several devices share each batch, through ``tf.distribute.MirroredStrategy``;
            None takes all GPUs that TensorFlow sees. With one device or none, TensorFlow places
            the work itself.
        checkpoint: A folder for the state after each epoch, so that ``resume`` can go on after
            an interruption.
        resume: Go on from the checkpoint, to the very weights of an uninterrupted run.
        tensorboard: A folder for TensorBoard's event files, of cost and accuracy an epoch.
        on_block: Called as steps are done with the epoch's number, its steps done so far, and
            its steps in all.
        on_epoch: Called after each epoch, with it.

    Returns:
        The run. ``model`` holds its final weights.

    Raises:
        InputError: a setting is out of range, the model does not fit the data, or the checkpoint
            is of another run.
        MissingError: ``resume`` without a checkpoint there.
    """
    _check(model, dataset, epochs, batch_size, learning_rate)
    settings: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    history: list[Epoch] = []
    store = None
    if checkpoint is not None:
        shape = {key: value for key, value in settings.items() if key != "epochs"}
        data = {"data": dataset.checksums(), "training images": len(dataset.train)}
        store = Checkpoint(checkpoint, identity={**shape, **data})
        if resume:
            weights, entries = store.load()
            model.set_weights(weights)
            history = [Epoch(**entry) for entry in entries]
            if len(history) > epochs:
                raise InputError(
                    f"received epochs {epochs}; {store.path} is after epoch {len(history)}, "
                    "so at least that many are expected"
                )
        else:
            store.begin(model.get_weights(), epochs)
    elif resume:
        raise InputError("received resume without a checkpoint folder; name the one to resume from")

    if devices is None:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    settings["devices"] = list(devices) or ["cpu"]
    blocks = training_blocks(
        dataset.train, batch_size, seed=seed, first_epoch=len(history), epochs=epochs
    )
    steps = -(-len(dataset.train) // batch_size)
    learner = _Learner(model, learning_rate, devices, compiled=steps >= _WORTH_COMPILING)
    writer = tf.summary.create_file_writer(os.fspath(tensorboard)) if tensorboard else None
    stream = iter(blocks.dataset)
    for number in range(len(history) + 1, epochs + 1):
        started = time.perf_counter()
        cost, hits, done = [], [], 0
        for _ in range(blocks.per_epoch):
            images, labels = next(stream)
            usual = images.shape[:2] == (blocks.batches, batch_size)
            block_cost, block_hits = learner.learn(images, labels, usual=usual)
            cost.append(block_cost)
            hits.append(block_hits)
            done += images.shape[0]
            if on_block:
                on_block(number, done, steps)
        seen = len(dataset.train)
        epoch_cost, epoch_accuracy = float(sum(cost)) / seen, int(sum(hits)) / seen
        seconds = time.perf_counter() - started
        learner.copy_weights_to(model)
        validation = evaluate(model, dataset.validation) if len(dataset.validation) else None
        epoch = Epoch(
            number,
            epoch_cost,
            epoch_accuracy,
            validation.cost if validation else None,
            validation.accuracy if validation else None,
            seconds,
        )
        history.append(epoch)
        if store:
            store.save(model.get_weights(), [asdict(entry) for entry in history], epochs)
        if writer:
            _write_summary(writer, epoch)
        if on_epoch:
            on_epoch(epoch)
    return Run(model, dataset, tuple(history), settings, weights_digest(model))


def evaluate(model: keras.Sequential, split: Split) -> Evaluation:
    """Measures ``model`` on ``split``.

    Args:
        model: uint8 (n, height, width) → probabilities float32 (n, classes).
        split: At least one example.

    Raises:
        InputError: the split is empty.
    """
    if not len(split):
        raise InputError("received an empty split; expected at least one example to evaluate on")
    probabilities = [
        _probabilities(model, np.ascontiguousarray(split.images[start : start + _AT_ONCE])).numpy()
        for start in range(0, len(split), _AT_ONCE)
    ]
    return Evaluation.of(split.labels, np.concatenate(probabilities))


def weights_digest(model: keras.Model) -> str:
    """SHA-256, in hex, of the weights as little-endian float32, each after its shape."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.array(weight.shape, "<i8").tobytes())
        digest.update(weight.astype("<f4").tobytes())
    return digest.hexdigest()


class _Learner:
    """Takes the steps: one SGD update a batch, many batches in one call of one graph.

    With several GPUs each replica learns from its share of every batch, and the gradients are
    summed, so an update is the same whatever the number of GPUs, up to rounding.
    """

    def __init__(
        self,
        model: keras.Sequential,
        learning_rate: float,
        devices: Sequence[str],
        *,
        compiled: bool,
    ) -> None:
        several = len(devices) > 1
        self._strategy = (
            tf.distribute.MirroredStrategy(devices) if several else tf.distribute.get_strategy()
        )
        with self._strategy.scope():
            self._model = transposed(model)
            self._optimizer = keras.optimizers.SGD(learning_rate)
            self._optimizer.build(self._model.trainable_variables)
        self._traced = tf.function(self._learn, reduce_retracing=True)
        # XLA does not compile a strategy of several devices.
        compiled = compiled and not several
        self._compiled = tf.function(self._learn, jit_compile=True) if compiled else self._traced

    def copy_weights_to(self, model: keras.Sequential) -> None:
        copy_weights(self._model, model)

    def learn(
        self, images: tf.Tensor, labels: tf.Tensor, *, usual: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Learns from images (k, batch, height, width) and labels (k, batch), batch by batch.

        Args:
            images: uint8.
            labels: int32.
            usual: Whether this is the shape that most blocks have. XLA compiles for one shape.

        Returns:
            The sum of the examples' costs, float32 (), and how many were right, int32 ().
        """
        learn = self._compiled if usual else self._traced
        cost, hits = learn(images, labels)
        return cost, hits

    def _learn(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        cost, hits = tf.constant(0.0), tf.constant(0)
        for batch in tf.range(tf.shape(images)[0]):
            step = self._strategy.run(self._step, (images[batch], labels[batch]))
            step_cost, step_hits = (
                self._strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in step
            )
            cost += step_cost
            hits += step_hits
        return cost, hits

    def _step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        replica = tf.distribute.get_replica_context()
        size = tf.cast(tf.shape(labels)[0], tf.float32)
        if replica.num_replicas_in_sync > 1:
            share = slice(replica.replica_id_in_sync_group, None, replica.num_replicas_in_sync)
            images, labels = images[share], labels[share]
        with tf.GradientTape() as tape:
            probabilities = self._model(images, training=True)
            one_hot = tf.one_hot(labels, probabilities.shape[-1])
            cost = tf.reduce_sum(keras.losses.categorical_crossentropy(one_hot, probabilities))
            mean = cost / size
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(mean, variables), variables)
        return cost, _hits(labels, probabilities)


@tf.function(reduce_retracing=True)
def _probabilities(model: keras.Sequential, images: tf.Tensor) -> tf.Tensor:
    return model(images, training=False)


def _hits(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    predicted = tf.argmax(probabilities, axis=1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(predicted == labels, tf.int32))


def _check(
    model: keras.Sequential, dataset: Dataset, epochs: int, batch_size: int, learning_rate: float
) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"received {name} {value}; expected at least 1")
    if not 0 < learning_rate < float("inf"):
        raise InputError(f"received learning_rate {learning_rate}; expected a number above 0")
    takes, gives = model.input_shape[1:], model.output_shape[-1]
    if takes != dataset.image_shape or gives != len(dataset.class_names):
        raise InputError(
            f"received a model of {takes} pixels and {gives} classes; {dataset.name} has "
            f"{dataset.image_shape} pixels and {len(dataset.class_names)} classes"
        )


def _write_summary(writer: tf.summary.SummaryWriter, epoch: Epoch) -> None:
    # What tf.summary.scalar writes, which only works where TensorBoard itself is installed.
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    with writer.as_default(step=epoch.epoch):
        for name, value in asdict(epoch).items():
            if name != "epoch" and value is not None:
                tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
    writer.flush()
