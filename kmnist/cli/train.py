"""``kmnist train``: train a model and export it as the next version."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.checks import BATCH_SIZE, DEVICES, EPOCHS, INITS, LEARNING_RATE, MAX_VALIDATION_SIZE
from kmnist.cli._base import Command, deferring_interrupts, interrupt_on_sigterm
from kmnist.cli._data import load_data
from kmnist.cli._options import (
    conversion_options,
    dataset_options,
    json_option,
    models_option,
    publishing_options,
)
from kmnist.cli._progress import TrainingProgress
from kmnist.cli._tensorflow import require_tensorflow, starting_tensorflow
from kmnist.errors import ExportError, MissingError

if TYPE_CHECKING:
    from kmnist import Dataset, Run
    from kmnist.training.workers import Workers

__all__ = ["command"]

_START_SECONDS: Final = 60

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_RATE: Final = click.FloatRange(0, min_open=True)


@click.command("train", cls=Command)
@dataset_options
@conversion_options
@click.option(
    "--validation-size",
    type=click.IntRange(0),
    default=None,
    show_default=f"a tenth, at most {MAX_VALIDATION_SIZE}",
    help="How many training images, from the first on, are held out for validation.",
)
@models_option()
@click.option("--epochs", type=click.IntRange(1), default=EPOCHS, help="Passes over the images.")
@click.option("--batch-size", type=click.IntRange(1), default=BATCH_SIZE, help="Images per update.")
@click.option("--learning-rate", type=_RATE, default=LEARNING_RATE, help="The step size of SGD.")
@click.option(
    "--init",
    type=click.Choice(INITS),
    default=INITS[0],
    help="The initial weights: Keras's default, or normal(0, 1) as in the tutorial.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    help="The seed of the initial weights and of the order of the images.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=DEVICES[0],
    help="The device to train on; auto uses GPUs if there are any.",
)
@click.option("--checkpoint", metavar="DIR", type=_FOLDER, help="Save each epoch's state here.")
@click.option("--resume", is_flag=True, help="Continue from the state in --checkpoint.")
@click.option(
    "--keep-best", is_flag=True, help="Export the epoch with the best validation accuracy."
)
@publishing_options
@click.option(
    "--tensorboard", metavar="DIR", type=_FOLDER, help="Write event files to this folder."
)
@json_option
def command(
    dataset: str,
    data_dir: Path | None,
    grey: bool,
    image_size: tuple[int, int] | None,
    validation_size: int | None,
    models: Path,
    init: str,
    seed: int,
    device: str,
    min_accuracy: float,
    label: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train the model and export it as the next version.

    The model is softmax regression, trained with SGD and evaluated once on the test split. The
    defaults take 15 epochs on MNIST, reach a test accuracy of about 0.92, and export a version
    that `kmnist serve` and TensorFlow Serving can load.

    Started by a launcher that sets TF_CONFIG, the processes train together: each reads its share of
    every batch, and the first of them writes.
    """
    if os.environ.get("TF_CONFIG"):
        # A thread of OpenBLAS would take a SIGTERM while TensorFlow starts, whose handler ignores it.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from kmnist.training.workers import read_cluster

    if settings["resume"] and settings["checkpoint"] is None:
        raise click.UsageError("--resume needs --checkpoint DIR, the folder to resume from")
    require_tensorflow()
    interrupt_on_sigterm()
    cluster = read_cluster()
    writes = cluster is None or cluster.index == 0
    progress = TrainingProgress(settings["epochs"], quiet=as_json or not writes)
    if writes:
        _check_folders(models, label, settings["checkpoint"], settings["tensorboard"])
    data = load_data(
        dataset, data_dir, grey=grey, image_size=image_size, validation_size=validation_size
    )
    with starting_tensorflow():
        from kmnist import evaluate
        from kmnist.export.saved_model import export_model, require_accuracy
    place = _choose_device(device)
    workers = None
    if cluster is not None:
        workers = _connect(cluster.count, data, {"seed": seed, "init": init, **settings})
        place += f", {cluster.count} workers"
    progress.begin(data, place)
    run = _train(data, progress, init=init, seed=seed, workers=workers, **settings)
    evaluation = evaluate(run.model, data.test)
    if writes:
        progress.evaluated(run, evaluation)
    try:
        require_accuracy(evaluation, min_accuracy)
    except ExportError:
        if writes:
            progress.exported(run, evaluation, None, None)
        raise
    if writes:
        folder = export_model(run.model, data, models, run=run, evaluation=evaluation, label=label)
        progress.exported(run, evaluation, folder, label)
    if workers is not None:
        workers.wait()  # the others end when the version is published


def _check_folders(
    models: Path, label: str | None, checkpoint: Path | None, tensorboard: Path | None
) -> None:
    """Refuse before the training what cannot be written during or after it."""
    from kmnist.files import check_folder
    from kmnist.versions import check_label, check_writable

    if label is not None:
        check_label(label)
    check_writable(models)
    for folder, what in (checkpoint, "a checkpoint"), (tensorboard, "event files"):
        if folder is not None:
            check_folder(folder, what)


def _choose_device(device: str) -> str:
    """Let TensorFlow use the GPUs or not; return the devices in use."""
    import tensorflow as tf

    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise MissingError(
            "TensorFlow sees no GPU: check that nvidia-smi lists one, install '.[gpu]' instead of "
            "'.[train]', or use --device cpu"
        )
    tf.config.set_visible_devices(gpus, "GPU")
    return f"{len(gpus)} GPU{'s' * (len(gpus) > 1)}" if gpus else "cpu"


def _connect(count: int, data: "Dataset", settings: dict[str, Any]) -> "Workers | None":
    from kmnist.training.workers import connect

    click.echo(f"waiting for {count} workers, at most {_START_SECONDS} s", err=True)
    names = ("seed", "init", "epochs", "batch_size", "learning_rate", "keep_best")
    return connect(data, {name: settings[name] for name in names}, timeout=_START_SECONDS)


def _train(
    data: "Dataset",
    progress: TrainingProgress,
    *,
    init: str,
    workers: "Workers | None",
    **settings: Any,
) -> "Run":
    """Train with progress, and explain an interrupt."""
    from kmnist import build_model, train
    from kmnist.export.signatures import reading_graph

    model = build_model(data.image_shape, len(data.class_names), init=init, seed=settings["seed"])
    try:
        with (
            ThreadPoolExecutor(1) as pool,
            progress.training(),
            deferring_interrupts() as raise_if_interrupted,
        ):

            def on_block(epoch: int, steps: int, done: int) -> None:
                progress.block(epoch, steps, done)
                raise_if_interrupted()

            if workers is None or workers.is_chief:
                pool.submit(reading_graph, data)  # an error is repeated by the export itself
            return train(
                model,
                data,
                workers=workers,
                on_block=on_block,
                on_epoch=progress.epoch,
                **settings,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(progress.interrupted(settings["checkpoint"])) from None
