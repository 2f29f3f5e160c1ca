"""The progress of a training: a bar on a terminal, or lines."""

import json
import random
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmnist.cli._options import models_argument
from kmnist.errors import KmnistError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from kmnist.data import Dataset
    from kmnist.metrics import Epoch, Evaluation
    from kmnist.training.loop import Run

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Print the steps of a training, from its data set to its version folder.

    Args:
        epochs: The number of epochs of the training.
        quiet: Whether to print nothing but the JSON object of :meth:`exported`.
    """

    def __init__(self, epochs: int, *, quiet: bool) -> None:
        self._epochs = epochs
        self._quiet = quiet
        self._finished = 0
        self._started = time.perf_counter()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._failure: OSError | None = None

    def begin(self, dataset: "Dataset", device: str) -> None:
        """Print the sizes of the data set, the device, and what was decided about the data."""
        height, width = dataset.image_shape
        self._print(
            f"{dataset.name}: {len(dataset.train)} training, {len(dataset.validation)} validation "
            f"and {len(dataset.test)} test images of {height}×{width}, "
            f"{len(dataset.class_names)} classes; on {device}"
        )
        for note in dataset.notes:
            self._print(f"  {note}")

    @contextmanager
    def training(self) -> Iterator[None]:
        """Show a bar while the body trains, if stdout is a terminal."""
        self._print("epoch    cost  accuracy  validation  seconds")
        if self._quiet or not sys.stdout.isatty():
            yield
            return
        from rich.progress import Progress

        with Progress(transient=True) as self._progress:
            self._bar = self._progress.add_task("")
            yield
        self._progress = None

    def block(self, epoch: int, done: int, steps: int) -> None:
        """Move the bar to ``done`` of the ``steps`` of an epoch."""
        if self._progress is not None and self._bar is not None:
            self._progress.update(
                self._bar, description=f"epoch {epoch}", completed=done, total=steps
            )

    def epoch(self, epoch: "Epoch") -> None:
        """Print the metrics of a finished epoch."""
        self._finished = epoch.epoch
        validation = (
            "-" if epoch.validation_accuracy is None else f"{epoch.validation_accuracy:.4f}"
        )
        self._print(
            f"{epoch.epoch:5d}  {epoch.cost:.4f}    {epoch.accuracy:.4f}      {validation:>6}"
            f"  {epoch.seconds:7.2f}"
        )

    def interrupted(self, checkpoint: Path | None) -> str:
        """Return the message of an interrupted training."""
        message = f"interrupted after epoch {self._finished} of {self._epochs}; "
        if checkpoint is None:
            return message + "no state was saved; use --checkpoint DIR to save it"
        return message + f"continue with: --checkpoint {shlex.quote(str(checkpoint))} --resume"

    def evaluated(self, run: "Run", evaluation: "Evaluation") -> None:
        """Print the metrics on the test split, and one of its images."""
        from kmnist.cli._drawing import draw_image

        names, test = run.dataset.class_names, run.dataset.test
        chosen = random.randrange(len(test))  # noqa: S311 - not for cryptography
        self._print_kept(run)
        self._print(
            f"\ntest accuracy {evaluation.accuracy:.4f}, cost {evaluation.cost:.4f}, "
            f"on {evaluation.examples} images\n"
            f"weights sha256 {run.weights_digest}\n\n"
            f"{draw_image(test.images[chosen])}\n"
            f"test image {chosen}: label {names[test.labels[chosen]]}, "
            f"predicted {names[evaluation.class_ids[chosen]]}\n"
        )

    def _print_kept(self, run: "Run") -> None:
        """Print the epoch whose weights were kept, and by how much it was better than the last."""
        if (kept := run.settings.get("kept_epoch")) is None:
            return
        best, last = (run.history[i].validation_accuracy or 0 for i in (kept - 1, -1))
        better = "the last" if kept == len(run.history) else f"{best - last:.4f} above the last"
        self._print(f"\nkept epoch {kept}: validation accuracy {best:.4f}, {better}")

    def exported(
        self, run: "Run", evaluation: "Evaluation", folder: Path, label: str | None = None
    ) -> None:
        """Print the version folder, or the JSON object.

        Raises:
            KmnistError: This, or an earlier line, could not be written.
        """
        labelled = f" with the label {label}" if label else ""
        self._print(
            f"exported {folder}{labelled}; serve it with: kmnist serve"
            f"{models_argument(folder.parent)}"
        )
        if self._quiet:
            result = {
                "version": int(folder.name),
                "path": str(folder),
                "label": label,
                "kept_epoch": run.settings.get("kept_epoch"),
                "test": {"accuracy": evaluation.accuracy, "cost": evaluation.cost},
                "weights_sha256": run.weights_digest,
                "history": [asdict(epoch) for epoch in run.history],
                "seconds": time.perf_counter() - self._started,
            }
            self._write(json.dumps(result))
        if self._failure is not None:
            raise KmnistError(
                f"exported {folder}, but stdout cannot be written: {self._failure.strerror}"
            )

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._write(text)

    def _write(self, text: str) -> None:
        """Write a line. A failure is kept until the version is exported."""
        if self._failure is not None:
            return
        try:
            if self._progress is not None:
                self._progress.console.print(text, highlight=False, markup=False)
            else:
                click.echo(text)
        except OSError as error:
            self._failure = error
