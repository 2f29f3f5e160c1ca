"""``kmnist train``: train a model and export it as the next version."""

import os
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.checks import (
    BATCH_SIZE,
    DEVICES,
    EPOCHS,
    INITS,
    LEARNING_RATE,
    MAX_VALIDATION_SIZE,
)
from kmnist.cli._base import Command, interrupt_on_sigterm, was_interrupted
from kmnist.cli._options import conversion_options, dataset_options, json_option, models_option
from kmnist.cli._progress import TrainingProgress
from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.cli._workers import find_workers, reporting_failure, run_workers, worker_options
from kmnist.errors import InputError, KmnistError, MissingError

if TYPE_CHECKING:
    from kmnist.data import Dataset

__all__ = ["command"]


# Under this key a context keeps the arguments of the command line.
_ARGUMENTS: Final = "kmnist.cli.arguments"


class _TrainCommand(Command):
    """The command, which keeps its arguments to start the same command as workers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command("train", cls=_TrainCommand)
@dataset_options
@conversion_options
@click.option(
    "--validation-size",
    type=click.IntRange(min=0),
    default=None,
    show_default=f"a tenth, at most {MAX_VALIDATION_SIZE}",
    help="The number of training images, from the first on, that are held out for validation.",
)
@models_option()
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=EPOCHS,
    help="The number of passes over the training images.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=BATCH_SIZE,
    help="The number of images per update.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=LEARNING_RATE,
    help="The learning rate of SGD.",
)
@click.option(
    "--init",
    type=click.Choice(INITS),
    default=INITS[0],
    help="The initial weights: Keras's default, or normal(0, 1) as in the tutorial.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 2),
    default=0,
    help="The seed of the initial weights and of the order of the images.",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=DEVICES[0],
    help="The device to train on; auto uses GPUs if there are any.",
)
@click.option(
    "--checkpoint",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Save the state after each epoch in this folder.",
)
@click.option("--resume", is_flag=True, help="Continue from the state in --checkpoint.")
@click.option(
    "--keep-best",
    is_flag=True,
    help="Export the weights of the epoch with the best validation accuracy, not of the last.",
)
@click.option(
    "--min-accuracy",
    metavar="X",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Publish nothing, and exit with 1, if the test accuracy is lower.",
)
@click.option("--label", metavar="NAME", help="Point this label at the published version.")
@click.option(
    "--tensorboard",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write TensorBoard's event files to this folder.",
)
@worker_options
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
    workers: str | None,
    index: int | None,
    shard: bool,
    timeout: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train the model and export it as the next version.

    The model is softmax regression, trained with SGD and evaluated once on the test split. The
    defaults take 15 epochs on MNIST, reach a test accuracy of about 0.92, and export a version
    that `kmnist serve` and TensorFlow Serving can load.

    With several workers, of which TF_CONFIG or --workers gives the addresses, each reads its share
    of every batch, and the first of them writes.
    """
    if settings["resume"] and settings["checkpoint"] is None:
        raise click.UsageError("--resume needs --checkpoint DIR, the folder to resume from")
    interrupt_on_sigterm()
    cluster, local = find_workers(workers, index, shard=shard)
    if cluster is not None:
        # A thread of OpenBLAS would take a SIGTERM while TensorFlow starts, whose handler ignores it.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    writes = cluster is None or cluster.is_chief
    progress = TrainingProgress(settings["epochs"], quiet=as_json or not writes)
    from kmnist.versions import check_label, check_writable

    with reporting_failure(cluster):
        if label is not None:
            check_label(label)
        if writes:
            _refuse_other_encodings(models=models, tensorboard=settings["tensorboard"])
            check_writable(models)
            if settings["tensorboard"] is not None:
                settings["tensorboard"].mkdir(parents=True, exist_ok=True)
        if local > 1:
            run_workers(local, click.get_current_context().meta[_ARGUMENTS])
            return
        data = _load_while_tensorflow_starts(
            dataset,
            data_dir,
            grey=grey,
            image_size=image_size,
            validation_size=validation_size,
        )
        from kmnist import build_model, evaluate, train
        from kmnist.export.saved_model import export_model
        from kmnist.export.signatures import reading_graph
        from kmnist.training.devices import choose_device

        try:
            place = choose_device(device)
        except MissingError as error:
            error.add_note("use --device cpu to train without a GPU")
            raise
    group = None
    if cluster is not None:
        from kmnist.training.workers import connect

        names = ("epochs", "batch_size", "learning_rate", "keep_best")
        compared = {name: settings[name] for name in names}
        group = connect(
            cluster,
            data,
            {"seed": seed, **compared, "init": init},
            sharded=shard,
            timeout=timeout,
            on_wait=partial(click.echo, err=True),
        )
        place += f", {group.count} workers"
    progress.begin(data, place)
    model = build_model(data.image_shape, len(data.class_names), init=init, seed=seed)
    try:
        with ThreadPoolExecutor(1) as pool, progress.training():
            if writes:
                pool.submit(reading_graph, data)  # an error is repeated by the export itself
            run = train(
                model,
                data,
                seed=seed,
                workers=group,
                on_block=progress.block,
                on_epoch=progress.epoch,
                **settings,
            )
    except (KeyboardInterrupt, Exception) as error:
        # While TensorFlow traces the step, it replaces the interrupt by an error of its own.
        if not (isinstance(error, KeyboardInterrupt) or was_interrupted()):
            raise
        raise KeyboardInterrupt(progress.interrupted(settings["checkpoint"])) from None
    evaluation = evaluate(model, data.test, workers=group)
    if writes:
        progress.evaluated(run, evaluation)
    if evaluation.accuracy < min_accuracy:
        raise KmnistError(
            f"received a test accuracy of {evaluation.accuracy:.4f}; expected at least {min_accuracy} "
            "(--min-accuracy); nothing was published; train longer, or correct the data"
        )
    if writes:
        folder = export_model(model, data, models, run=run, evaluation=evaluation)
        if label is not None:
            _label(folder, label)
        progress.exported(run, evaluation, folder, label)
    if group is not None:
        group.wait()  # the others are done when the version is published


def _label(folder: Path, name: str) -> None:
    from kmnist.versions import label

    try:
        label(folder.parent, {name: int(folder.name)})
    except (KmnistError, OSError) as error:
        raise KmnistError(f"published {folder}, but without the label {name}: {error}") from None


def _refuse_other_encodings(**folders: Path | None) -> None:
    """Refuse folders with names that are not UTF-8: TensorFlow cannot write there."""
    for option, folder in folders.items():
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"received --{option} {str(folder)!r}; expected a name in UTF-8; rename the folder"
            ) from None


def _load_while_tensorflow_starts(
    dataset: str, data_dir: Path | None, **settings: Any
) -> "Dataset":
    """Load the data set in a thread while TensorFlow is imported, which takes seconds."""
    from kmnist.cli._data import load_data
    from kmnist.data.sources import needs_tensorflow

    load = partial(load_data, dataset, data_dir, **settings)
    if needs_tensorflow(dataset):
        _start_tensorflow()
        return load()  # TFDS breaks the imports of other threads
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        # A damaged file fails at once, and is reported without waiting for TensorFlow.
        wait([loading], timeout=0.02)
        if loading.done():
            loading.result()
        _start_tensorflow()
        return loading.result()


def _start_tensorflow() -> None:
    with starting_tensorflow():
        import kmnist.export.saved_model
        import kmnist.training.loop  # noqa: F401 - imported for the time it takes
