"""The training loop: epochs of SGD on a data set."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from kmnist.checks import BATCH_SIZE, EPOCHS, LEARNING_RATE, MAX_SEED, integer
from kmnist.data import Dataset
from kmnist.errors import InputError
from kmnist.metrics import Epoch
from kmnist.training.batches import training_blocks
from kmnist.training.checkpoint import Checkpoint, State
from kmnist.training.classifier import classifier_for
from kmnist.training.evaluation import measure
from kmnist.training.step import TrainingStep, read_state, write_state
from kmnist.training.workers import Workers, reporting_lost_worker

__all__ = ["Run", "train", "weights_digest"]

# XLA halves the time of a step and takes a second to compile. The number of steps per epoch
# decides, not that of the run, so that a run resumed with more epochs takes the same steps. On a CPU,
# its convolutions take ten times as long as TensorFlow's.
_STEPS_WORTH_COMPILING: Final = 500

# The product of two numbers up to this fits into an int64, as which TensorFlow counts the batches.
_MAX_COUNT: Final = 2**31 - 1


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        model: The trained model.
        dataset: The data set that it was trained on.
        history: The metrics of each epoch.
        settings: The hyperparameters ``epochs``, ``batch_size``, ``learning_rate`` and ``seed``,
            the number of ``replicas`` that shared each batch, and the ``kept_epoch`` if
            the best one was kept.
        weights_digest: The digest of the trained weights; see :func:`weights_digest`.
    """

    model: keras.Model
    dataset: Dataset
    history: tuple[Epoch, ...]
    settings: dict[str, Any]
    weights_digest: str

    def __repr__(self) -> str:
        digest = self.weights_digest[:12]
        return f"Run({self.dataset.name}: {len(self.history)} epochs, weights {digest})"


def train(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    workers: Workers | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_best: bool = False,
    tensorboard: str | os.PathLike[str] | None = None,
    on_block: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a model in place with stochastic gradient descent.

    For each batch of n images x (n, 784) with one-hot labels y (n, 10), the cost is the mean
    cross-entropy of the hypothesis p = softmax(x W + b), and the weights W (784, 10) and biases
    b (10,) take one step against its gradient ::

        cost = -1/n Σ_i Σ_k y_ik log p_ik
        W ← W - learning_rate · 1/n xᵀ (p - y)
        b ← b - learning_rate · 1/n Σ_i (p - y)_i

    The defaults are those of the tutorial (see :func:`kmnist.build_model`): 15 epochs of MNIST's
    55,000 training images in batches of 100, with a learning rate of 0.1. From weights drawn from
    normal(0, 1) its cost falls from 2.817744847 in the first epoch to 0.460864195 in the last, with
    a test accuracy of 0.8901.

    The test split is not used. Equal arguments give bit-identical weights on the same machine.

    The GPUs that TensorFlow sees share each batch; within the scope of a ``tf.distribute`` strategy
    of one machine, its devices do.

    Args:
        model: A model of :func:`kmnist.build_model` for the data set's image shape and classes, or
            another Keras classifier of images that is not a subclass of ``keras.Model``.
        dataset: The data set; its validation split is evaluated after each epoch.
        epochs: The number of passes over the training split.
        batch_size: The number of examples per update.
        learning_rate: The learning rate of SGD.
        seed: The seed of the order of the examples.
        workers: The workers that share each batch, from :func:`kmnist.training.workers.connect`,
            with all their GPUs; each has to call this with equal arguments. The weights are those
            of one worker up to rounding, and bit-identical on all. The chief alone writes to
            ``checkpoint`` and ``tensorboard``, and the others start from its state.
        checkpoint: A folder to save the state in after each epoch; None to save nothing.
        resume: Continue from the checkpoint; the weights become those of an uninterrupted run.
        keep_best: Let the model have the weights of the epoch with the best validation accuracy at
            the end, the first of several; ``settings["kept_epoch"]`` is its number.
        tensorboard: A folder for a TensorBoard event file of the metrics of each epoch.
        on_block: Called after each block of steps with the number of the epoch, the steps per epoch,
            and the steps done in the epoch.
        on_epoch: Called after each epoch with its metrics.

    Returns:
        The run; its model is ``model``.

    Raises:
        InputError: A setting is of another type or out of range, the model does not fit the data
            set, or has state besides trained weights on several devices, the training diverged, or
            the checkpoint is damaged, unfinished without ``resume``, or of a different run.
        MissingError: ``resume`` is set, but there is no checkpoint.
        KmnistError: Another worker was lost.

    Example:
        >>> dataset = load_dataset("digits", validation_size=100)
        >>> run = train(build_model(), dataset, epochs=3)
        >>> [epoch.epoch for epoch in run.history]
        [1, 2, 3]
        >>> run.history[-1].cost < run.history[0].cost
        True
    """
    classifier = classifier_for(model, dataset)
    settings = _check_settings(epochs, batch_size, learning_rate, seed)
    strategy = workers.strategy if workers else _local_strategy()
    _check_model(classifier, dataset, strategy, keep_best=keep_best)
    if resume and checkpoint is None:
        raise InputError("resume needs checkpoint, the folder to resume from")
    store, events = None, None
    if workers is None or workers.is_chief:
        identity = settings | {"keep_best": keep_best} | _identity(model, dataset)
        store = None if checkpoint is None else Checkpoint(checkpoint, identity)
        events = None if tensorboard is None else _EventWriter(tensorboard)
    weights = read_state(model)
    state = State(weights, weights if keep_best else [])
    state = _first_state(state, store, workers, resume=resume)
    write_state(model, state.weights)
    with reporting_lost_worker(workers):
        finished = len(state.history)
        for epoch in _epochs(classifier, dataset, settings, strategy, workers, finished, on_block):
            state = state.after(epoch, read_state(model))
            if store:
                store.save(state)
            if events:
                events.write(epoch)
            if on_epoch:
                on_epoch(epoch)
    settings["replicas"] = strategy.num_replicas_in_sync
    if keep_best:
        write_state(model, state.best)
        settings["kept_epoch"] = state.best_epoch.epoch
    return Run(model, dataset, state.history, settings, weights_digest(model))


def weights_digest(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, in hex.

    Each weight contributes its shape as little-endian int64 and its values as little-endian
    float32.
    """
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.array(weight.shape, "<i8").tobytes())
        digest.update(weight.astype("<f4").tobytes())
    return digest.hexdigest()


def _epochs(
    classifier: keras.Model,
    dataset: Dataset,
    settings: dict[str, Any],
    strategy: tf.distribute.Strategy,
    workers: Workers | None,
    finished: int,
    on_block: Callable[[int, int, int], None] | None,
) -> Iterator[Epoch]:
    """Train the epochs after the finished ones, and yield the metrics of each."""
    batch_size, rate, seed = (settings[name] for name in ("batch_size", "learning_rate", "seed"))
    blocks = training_blocks(
        dataset.train, batch_size, seed, range(finished, settings["epochs"]), workers
    )
    compiled = blocks.steps >= _STEPS_WORTH_COMPILING and _is_dense(classifier)
    step = TrainingStep(classifier, rate, strategy, workers, blocks.shape if compiled else None)
    stream = iter(blocks.dataset)
    for number in range(finished + 1, settings["epochs"] + 1):
        started = time.perf_counter()
        report = on_block and partial(on_block, number, blocks.steps)
        cost, hits = step.run(islice(stream, blocks.per_epoch), report)
        seconds = time.perf_counter() - started
        step.copy_weights_to(classifier)
        if not all(np.isfinite(values).all() for values in (cost, *classifier.get_weights())):
            raise InputError(
                f"training diverged in epoch {number}: use a smaller learning rate than {rate:g}"
            )
        validation = measure(classifier, dataset.validation) if len(dataset.validation) else None
        yield Epoch(
            epoch=number,
            cost=cost / len(dataset.train),
            accuracy=hits / len(dataset.train),
            validation_cost=validation.cost if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            seconds=seconds,
        )


class _EventWriter:
    """Writer of a TensorBoard event file, which needs no TensorBoard."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._writer = tf.summary.create_file_writer(os.fspath(folder))

    def write(self, epoch: Epoch) -> None:
        # The record of tf.summary.scalar, which requires the TensorBoard package.
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
        with self._writer.as_default(step=epoch.epoch):
            for name, value in asdict(epoch).items():
                if name != "epoch" and value is not None:
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)
        self._writer.flush()


def _is_dense(model: keras.Model) -> bool:
    """Return whether all weights of a model are those of Dense layers."""
    return all(isinstance(layer, keras.layers.Dense) or not layer.weights for layer in model.layers)


def _check_settings(
    epochs: int, batch_size: int, learning_rate: object, seed: int
) -> dict[str, Any]:
    """Return the settings by name, as numbers of Python."""
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(learning_rate, numbers) or not 0 < learning_rate < np.inf:
        raise InputError(f"learning_rate must be a positive number, not {learning_rate!r}")
    return {
        "epochs": integer("epochs", epochs, 1, _MAX_COUNT),
        "batch_size": integer("batch_size", batch_size, 1, _MAX_COUNT),
        "learning_rate": float(learning_rate),
        "seed": integer("seed", seed, 0, MAX_SEED),
    }


def _local_strategy() -> tf.distribute.Strategy:
    """Return the strategy in whose scope the caller is, or one over all GPUs if there are several."""
    several = len(tf.config.list_logical_devices("GPU")) > 1 and not tf.distribute.has_strategy()
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def _check_model(
    classifier: keras.Model, dataset: Dataset, strategy: tf.distribute.Strategy, *, keep_best: bool
) -> None:
    if keep_best and not len(dataset.validation):
        raise InputError("keep_best needs validation images to choose the epoch by")
    if strategy.num_replicas_in_sync > 1 and classifier.non_trainable_variables:
        raise InputError(
            "a model with state that is not trained, such as that of BatchNormalization or Dropout, "
            "cannot be shared by several devices or workers: train it on one, or with its method fit"
        )


def _identity(model: keras.Model, dataset: Dataset) -> dict[str, Any]:
    """Return what a run and the run that resumes it must share besides the settings."""
    return {
        "weights": [f"{values.dtype} {values.shape}" for values in read_state(model)],
        "training images": len(dataset.train),
        "data": dataset.checksums(),
    }


def _first_state(
    state: State, store: Checkpoint | None, workers: Workers | None, *, resume: bool
) -> State:
    """Return the state to start from, that of the chief."""
    if store and resume:
        state = store.load()
    elif store:
        store.begin(state)
    if workers is not None:
        state, _ = State.from_bytes(workers.broadcast(state.to_bytes({})))
    return state
