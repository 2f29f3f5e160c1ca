"""The training loop: epochs of SGD on a data set."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.checks import BATCH_SIZE, EPOCHS, LEARNING_RATE, MAX_SEED, integer
from kmnist.data import Dataset
from kmnist.errors import InputError
from kmnist.metrics import Epoch, Evaluation
from kmnist.training.batches import Blocks, Share, training_blocks
from kmnist.training.checkpoint import Checkpoint
from kmnist.training.classifier import classifier_for
from kmnist.training.evaluation import measure, measure_parts
from kmnist.training.step import TrainingStep, read_state, write_state
from kmnist.training.tensorboard import EventWriter

if TYPE_CHECKING:
    from kmnist.training.workers import Workers

__all__ = ["Run", "train", "weights_digest"]

# XLA halves the time of a step and takes a second to compile. The number of steps per epoch
# decides, not that of the run, so that a run resumed with more epochs takes the same steps. On a CPU,
# its convolutions take ten times as long as TensorFlow's.
_STEPS_WORTH_COMPILING: Final = 500

# The product of two numbers up to this fits into an int64, as which TensorFlow counts the batches.
_MAX_COUNT: Final = 2**31 - 1

_FLOAT32: Final = np.finfo(np.float32)


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        model: The trained model.
        dataset: The data set that it was trained on.
        history: The metrics of each epoch.
        settings: The hyperparameters ``epochs``, ``batch_size``, ``learning_rate`` and ``seed``,
            the ``devices`` and, if there are several, the number of ``workers`` and of the
            training images in the ``parts`` of each.
        weights_digest: The digest of the trained weights; see :func:`weights_digest`.
    """

    model: keras.Model
    dataset: Dataset
    history: tuple[Epoch, ...]
    settings: dict[str, Any]
    weights_digest: str

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else None
        figures = f"cost {last.cost:.4f}, " if last else ""
        if last and last.validation_accuracy is not None:
            figures += f"validation accuracy {last.validation_accuracy:.4f}, "
        epochs = f"{len(self.history)} epoch{'s' * (len(self.history) != 1)}"
        return f"Run({self.dataset.name}: {epochs}, {figures}weights {self.weights_digest[:12]})"


def train(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    devices: Sequence[str] | None = None,
    workers: "Workers | None" = None,
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

    Args:
        model: A model of :func:`kmnist.build_model` for the data set's image shape and classes, or
            another Keras classifier of images that is not a subclass of ``keras.Model``.
        dataset: The data set; its validation split is evaluated after each epoch.
        epochs: The number of passes over the training split.
        batch_size: The number of examples per update.
        learning_rate: The learning rate of SGD.
        seed: The seed of the order of the examples.
        devices: The devices that share each batch through ``tf.distribute.MirroredStrategy``; None
            for all GPUs that TensorFlow sees. With one or none, TensorFlow places the operations.
        workers: The workers that share each batch, from :func:`kmnist.training.workers.connect`,
            with all their GPUs; each has to call this with equal arguments. The weights are those
            of one worker up to rounding, and bit-identical on all. The chief alone writes to
            ``checkpoint`` and ``tensorboard``, and starts the others from its state.
        checkpoint: A folder to save the state in after each epoch; None to save nothing.
        resume: Continue from the checkpoint; the weights become those of an uninterrupted run.
        keep_best: Let the model have the weights of the epoch with the best validation accuracy at
            the end, the first of several; ``settings["kept_epoch"]`` is its number.
        tensorboard: A folder for a TensorBoard event file of the metrics of each epoch.
        on_block: Called after each block of steps with the number of the epoch, the steps done in
            the epoch, and the steps per epoch.
        on_epoch: Called after each epoch with its metrics.

    Returns:
        The run; its model is ``model``.

    Raises:
        InputError: An argument is of another type or out of range, the model does not fit the data
            set, cannot be copied, or has state besides trained weights on several devices, the cost
            or a weight is not finite after an epoch, or the checkpoint is damaged, unfinished
            without ``resume``, or of a different run.
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
    if keep_best and not len(dataset.validation):
        raise InputError(
            "received keep_best without validation images; expected some to choose the epoch by; "
            "hold some out, as validation_size of load_dataset does"
        )
    settings: dict[str, Any] = {
        "epochs": integer("epochs", epochs, 1, _MAX_COUNT),
        "batch_size": integer("batch_size", batch_size, 1, _MAX_COUNT),
        "learning_rate": _check_rate(learning_rate),
        "seed": integer("seed", seed, 0, MAX_SEED),
    }
    epochs, batch_size, learning_rate, seed = settings.values()
    devices = _check_devices(devices)
    if (len(devices) > 1 or workers is not None) and classifier.non_trainable_variables:
        raise InputError(
            "received several devices or workers and a model with state that is not trained, such as "
            "that of BatchNormalization or Dropout; expected one device, because the state would "
            "differ between several; train it on one, or with its method fit"
        )
    best = read_state(model) if keep_best else []
    share = _share_of(workers)
    identity = {name: value for name, value in settings.items() if name != "epochs"}
    identity |= {"training images": sum(share.sizes) if share.sizes else len(dataset.train)}
    identity["keep_best"] = keep_best or None  # as in the checkpoints of the time before it
    store: Checkpoint | None = None
    history: list[Epoch] = []
    if workers is None or workers.is_chief:
        store, history = _open_checkpoint(
            checkpoint, model, best, dataset, identity, epochs, resume=resume
        )
    settings["devices"] = devices or ["cpu"]
    if workers is not None:
        settings["workers"] = workers.count
        if share.sizes:
            settings["parts"] = list(share.sizes)
        history = _start_like_chief(workers, model, best, identity, history, epochs)
    blocks = training_blocks(
        dataset.train, batch_size, seed=seed, first_epoch=len(history), epochs=epochs, share=share
    )
    compiled = blocks.steps >= _STEPS_WORTH_COMPILING and _is_dense(model)
    losing_workers = nullcontext if workers is None else workers.losing_workers
    with losing_workers():
        step = TrainingStep(classifier, learning_rate, devices, compiled=compiled, workers=workers)
    writes = tensorboard is not None and (workers is None or workers.is_chief)
    events = EventWriter(tensorboard) if writes and tensorboard is not None else None
    stream = iter(blocks.dataset)
    for number in range(len(history) + 1, epochs + 1):
        started = time.perf_counter()
        with losing_workers():
            cost, hits = _run_epoch(step, blocks, stream, on_block and partial(on_block, number))
        seconds = time.perf_counter() - started
        step.copy_weights_to(classifier)
        if not all(np.isfinite(values).all() for values in (cost, *model.get_weights())):
            raise InputError(
                f"received learning_rate {learning_rate}; the cost or the weights were no longer "
                f"finite in epoch {number}; train with a smaller one, such as {LEARNING_RATE}"
            )
        validation = _validate(classifier, dataset, workers)
        epoch = Epoch(
            epoch=number,
            cost=cost / blocks.examples,
            accuracy=hits / blocks.examples,
            validation_cost=validation.cost if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            seconds=seconds,
        )
        history.append(epoch)
        if keep_best and epoch is _best(history):
            best = read_state(model)
        if store:
            store.save([*read_state(model), *best], history, epochs)
        if events:
            events.write(epoch)
        if on_epoch:
            on_epoch(epoch)
    if keep_best:
        write_state(model, best)
        settings["kept_epoch"] = _best(history).epoch
    return Run(model, dataset, tuple(history), settings, weights_digest(model))


def _best(history: Sequence[Epoch]) -> Epoch:
    return max(history, key=lambda epoch: epoch.validation_accuracy or 0.0)


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


def _is_dense(model: keras.Model) -> bool:
    """Return whether all weights of a model are those of Dense layers."""
    return all(isinstance(layer, keras.layers.Dense) or not layer.weights for layer in model.layers)


def _check_rate(value: Any) -> float:
    smallest, largest = float(_FLOAT32.tiny), float(_FLOAT32.max)
    number = not isinstance(value, bool) and isinstance(
        value, int | float | np.integer | np.floating
    )
    if number and smallest <= value <= largest:
        return float(value)
    raise InputError(
        f"received learning_rate {value!r}; expected a number from {smallest:.2g} to "
        f"{largest:.2g}, the range of float32"
    )


def _check_devices(devices: Sequence[str] | None) -> list[str]:
    """Return the devices; all GPUs for None."""
    if devices is None:
        return [device.name for device in tf.config.list_logical_devices("GPU")]
    existing = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    named = [devices] if isinstance(devices, str) else [str(device) for device in devices]
    known = [name.removeprefix("/").removeprefix("device:").upper() for name in named]
    if isinstance(devices, str) or len(set(known)) < len(known) or not set(known) <= {*existing}:
        raise InputError(
            f"received devices {devices!r}; expected a list of different ones of "
            f"{', '.join(existing)}"
        )
    return named


def _open_checkpoint(
    folder: str | os.PathLike[str] | None,
    model: keras.Model,
    best: list[NDArray[Any]],
    dataset: Dataset,
    identity: dict[str, Any],
    epochs: int,
    *,
    resume: bool,
) -> tuple[Checkpoint | None, list[Epoch]]:
    """Return the checkpoint and the finished epochs.

    Their state is loaded into the model, and that of the best epoch into ``best``, unless empty.
    """
    if folder is None:
        if resume:
            raise InputError(
                "received resume without a checkpoint folder; name the one to resume from"
            )
        return None, []
    store = Checkpoint(folder, {**identity, "data": dataset.checksums()})
    state = read_state(model)
    if not resume:
        store.begin([*state, *best], epochs)
        return store, []
    saved, history = store.load([*state, *best])
    if len(history) > epochs:
        raise InputError(
            f"received epochs {epochs}; expected at least {len(history)}, because {store.path} is "
            f"after epoch {len(history)}"
        )
    write_state(model, saved[: len(state)])
    best[:] = saved[len(state) :]
    return store, history


def _share_of(workers: "Workers | None") -> Share:
    if workers is None:
        return Share()
    sizes = tuple(train for train, _ in workers.parts) if workers.parts else None
    return Share(workers.index, workers.count, sizes)


def _start_like_chief(
    workers: "Workers",
    model: keras.Model,
    best: list[NDArray[Any]],
    identity: dict[str, Any],
    history: list[Epoch],
    epochs: int,
) -> list[Epoch]:
    """Load the state of the chief into the model and ``best``; return the epochs it has finished."""
    message, state = Checkpoint("", identity), read_state(model)
    packed = message.pack([*state, *best], history, epochs) if workers.is_chief else b""
    received, history = message.unpack(workers.broadcast(packed), [*state, *best])
    write_state(model, received[: len(state)])
    best[:] = received[len(state) :]
    return history


def _validate(
    classifier: keras.Model, dataset: Dataset, workers: "Workers | None"
) -> Evaluation | None:
    if workers is not None and workers.parts:
        some = any(validation for _, validation in workers.parts)
        return measure_parts(classifier, dataset.validation, workers) if some else None
    split = dataset.validation
    return measure(classifier, split, workers) if len(split) else None


def _run_epoch(
    step: TrainingStep,
    blocks: Blocks,
    stream: Iterator[tuple[tf.Tensor, tf.Tensor]],
    on_block: Callable[[int, int], None] | None,
) -> tuple[float, int]:
    """Return the sum of the costs of the examples, and the number classified correctly."""
    costs, hits, done = [], [], 0
    for block, (images, labels) in enumerate(islice(stream, blocks.per_epoch)):
        usual, size = images.shape[:2] == blocks.shape, blocks.batch_size(block)
        block_cost, block_hits = step.run(images, labels, size=size, usual=usual)
        costs.append(block_cost)
        hits.append(block_hits)
        done += images.shape[0]
        if on_block:
            on_block(done, blocks.steps)
    # Converted at the end, because a conversion waits for the device.
    return float(sum(costs)), int(sum(hits))
