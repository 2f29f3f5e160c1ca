"""``kmnist-train``: from images to a version folder that a server can load."""

import signal
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from kmnist.cli._base import Command, json_option
from kmnist.cli._progress import Report
from kmnist.cli._tensorflow import starting_tensorflow

if TYPE_CHECKING:
    from kmnist.data import Dataset

__all__ = ["command"]


@click.command(cls=Command)
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="mnist (bundled), a folder of IDX files, or a TFDS name such as kmnist.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where TFDS finds or puts prepared data."
)
@click.option(
    "--validation-size",
    type=click.IntRange(0),
    default=5_000,
    show_default=True,
    help="How many of the first training images are held out.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("models/kmnist"),
    show_default=True,
    help="The folder that the next version is exported into.",
)
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=100, show_default=True)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True
)
@click.option(
    "--init",
    type=click.Choice(["glorot_uniform", "random_normal"]),
    default="glorot_uniform",
    show_default=True,
    help="The first weights: Keras's own, or normal(0, 1) as in the tutorial.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 2),
    default=0,
    show_default=True,
    help="Of the first weights and of the order of the images.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder to keep the state after each epoch in.",
)
@click.option("--resume", is_flag=True, help="Go on from the state in --checkpoint.")
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for TensorBoard's event files.",
)
@json_option
def command(
    dataset: str,
    data_dir: Path | None,
    validation_size: int,
    output: Path,
    init: str,
    seed: int,
    device: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train the model, measure it on the test split, and export the next version.

    Softmax regression with SGD, one update a batch. With the defaults: MNIST, 15 epochs, a test
    accuracy of about 0.92, and a version in models/kmnist that `kmnist serve` and TensorFlow
    Serving load.
    """
    if settings["resume"] and settings["checkpoint"] is None:
        raise click.UsageError("--resume needs --checkpoint DIR, the folder to resume from")
    signal.signal(signal.SIGTERM, _interrupt)
    data = _load_beside_tensorflow(dataset, validation_size, data_dir)
    from kmnist.export.saved_model import export_model
    from kmnist.training.devices import choose_device
    from kmnist.training.evaluation import evaluate
    from kmnist.training.loop import train
    from kmnist.training.model import build_model

    report = Report(settings["epochs"], quiet=as_json)
    report.begin(data, choose_device(device))
    model = build_model(data.image_shape, len(data.class_names), init=init, seed=seed)
    try:
        with report.training():
            run = train(
                model, data, seed=seed, on_block=report.block, on_epoch=report.epoch, **settings
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(report.interrupted(settings["checkpoint"])) from None
    evaluation = evaluate(model, data.test)
    report.evaluated(run, evaluation)
    folder = export_model(run, evaluation, output)
    report.exported(run, evaluation, folder)


def _load_beside_tensorflow(dataset: str, validation_size: int, data_dir: Path | None) -> "Dataset":
    """Reads the data in a thread while TensorFlow, which takes seconds, is imported."""
    from kmnist.data import load_dataset

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(
            load_dataset, dataset, validation_size=validation_size, data_dir=data_dir
        )
        # A wrong path shows at once, and is told before TensorFlow is waited for.
        wait([reading], timeout=0.02)
        if reading.done():
            reading.result()
        with starting_tensorflow():
            import kmnist.export.saved_model
            import kmnist.training.loop  # noqa: F401 - imported to have it done here

        return reading.result()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """What `kill` sends stops a training as Ctrl-C does."""
    raise KeyboardInterrupt
