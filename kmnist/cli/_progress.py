"""The progress of a training: a bar on a terminal, or lines."""

import json
import math
import random
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from kmnist.cli._options import models_argument

if TYPE_CHECKING:
    from rich.progress import Progress

    from kmnist.data import Dataset
    from kmnist.metrics import Epoch, Evaluation
    from kmnist.training.loop import Run

__all__ = ["TrainingProgress"]

# A smaller loss of validation accuracy is not worth a line, however many images it is measured on.
_CLEARLY_WORSE: Final = 0.005


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
        self._bar: Progress | None = None

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

        with Progress(transient=True) as self._bar:
            self._bar.add_task("")
            yield
        self._bar = None

    def block(self, epoch: int, steps: int, done: int) -> None:
        """Move the bar to ``done`` of the ``steps`` of an epoch."""
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, description=f"epoch {epoch}", completed=done, total=steps)

    def epoch(self, epoch: "Epoch") -> None:
        """Print the metrics of a finished epoch."""
        self._finished = epoch.epoch
        accuracy = epoch.validation_accuracy
        validation = "-" if accuracy is None else f"{accuracy:.4f}"
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
        from kmnist.pictures.measure import ink_extent

        if (kept := run.settings.get("kept_epoch")) is not None:
            accuracy = run.history[kept - 1].validation_accuracy
            self._print(f"\nkept epoch {kept}: validation accuracy {accuracy:.4f}")
        elif better := _better_epoch(run.history, len(run.dataset.validation)):
            accuracy = better.validation_accuracy
            self._print(
                f"\nepoch {better.epoch} was better ({accuracy:.4f}): --keep-best exports it"
            )
        names, test = run.dataset.class_names, run.dataset.test
        is_ink = ink_extent(run.dataset.train.images) is not None
        chosen = random.randrange(len(test))  # noqa: S311 - not for cryptography
        self._print(
            f"\ntest accuracy {evaluation.accuracy:.4f}, cost {evaluation.cost:.4f}, "
            f"on {evaluation.examples} images\n"
            f"weights sha256 {run.weights_digest}\n\n"
            f"{draw_image(test.images[chosen], is_ink=is_ink)}\n"
            f"test image {chosen}: label {names[test.labels[chosen]]}, "
            f"predicted {names[evaluation.class_ids[chosen]]}\n"
        )

    def exported(
        self, run: "Run", evaluation: "Evaluation", folder: Path | None, label: str | None
    ) -> None:
        """Print the version folder, or the JSON object; None if nothing was published."""
        if not self._quiet:
            if folder is None:
                return
            labelled = f" with the label {label}" if label else ""
            serve = f"kmnist serve{models_argument(folder.parent)}"
            click.echo(f"exported {folder}{labelled}; serve it with: {serve}")
        else:
            result = {
                "published": folder is not None,
                "version": int(folder.name) if folder else None,
                "path": str(folder) if folder else None,
                "label": label,
                "kept_epoch": run.settings.get("kept_epoch"),
                "test": {"accuracy": evaluation.accuracy, "cost": evaluation.cost},
                "weights_sha256": run.weights_digest,
                "history": [asdict(epoch) for epoch in run.history],
                "seconds": time.perf_counter() - self._started,
            }
            click.echo(json.dumps(result))

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif not self._quiet:
            with suppress(OSError):  # a full disk or a closed pipe must not end the training
                click.echo(text)


def _better_epoch(history: Sequence["Epoch"], images: int) -> "Epoch | None":
    """Return the best epoch, if the last one is worse by more than the standard error."""
    best = max(history, key=lambda epoch: epoch.validation_accuracy or 0.0)
    accuracy, last = best.validation_accuracy or 0.0, history[-1].validation_accuracy or 0.0
    error = math.sqrt(accuracy * (1 - accuracy) / max(1, images))
    return best if accuracy - last > max(_CLEARLY_WORSE, error) else None
