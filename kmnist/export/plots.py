"""Plots of a version: learning curves, confusion matrix, weights as images, sample images.

They are drawn in another process while TensorFlow writes and verifies the SavedModel:
``python -m kmnist.export.plots FOLDER`` reads the data from its standard input.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.errors import PlotError
from kmnist.metrics import Epoch, Evaluation

__all__ = ["drawing_plots"]

_COLUMNS: Final = 8
_ROWS: Final = 2

# More weights and names cannot be read, and matplotlib takes minutes for the layout of hundreds.
_MOST_CLASSES: Final = 60

_INK: Final = "#222222"
_TRAINING: Final = "#1b6ca8"
_VALIDATION: Final = "#d9730d"
_WRONG: Final = "#c0182b"


@contextmanager
def drawing_plots(
    folder: Path,
    history: Sequence[Epoch],
    evaluation: Evaluation,
    *,
    weights: NDArray[np.float32],
    test: Split,
    class_names: Sequence[str],
) -> Iterator[None]:
    """Draw training.png, confusion.png, weights.png and samples.png while the block runs.

    Leaving the block waits for the drawing to finish; an error in the block stops it.

    Args:
        folder: An existing folder for the plots.
        history: The epochs of the training.
        evaluation: The evaluation on the test split.
        weights: float32 (height, width, classes), the kernel of the Dense layer.
        test: The split that was evaluated.
        class_names: The name of each class.

    Raises:
        PlotError: The plots could not be drawn.
    """
    chosen = _choose(evaluation, test)
    with tempfile.TemporaryFile() as data:
        np.savez(
            data,
            history=np.array([list(asdict(epoch).values()) for epoch in history], np.float64),
            confusion=evaluation.confusion,
            weights=weights,
            images=test.images[chosen],
            labels=test.labels[chosen],
            class_ids=evaluation.class_ids[chosen],
            class_names=np.array(class_names, str),
        )
        data.seek(0)
        process = subprocess.Popen(  # noqa: S603 - this Python, this module
            [sys.executable, "-m", "kmnist.export.plots", str(folder)],
            # The other Python finds the same packages.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=data,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    with process:
        try:
            yield
        except BaseException:
            process.kill()
            raise
        _, stderr = process.communicate()
    if process.returncode:
        reason = (stderr.strip() or f"exit code {process.returncode}").splitlines()[-1]
        raise PlotError(f"the plots could not be drawn: {reason}")


def _choose(evaluation: Evaluation, test: Split) -> NDArray[np.int64]:
    """Return the indices of the first test images, then of the first misclassified ones."""
    count = _COLUMNS * _ROWS
    wrong = np.flatnonzero(evaluation.class_ids != test.labels)[:count]
    return np.concatenate([np.arange(min(count, len(test))), wrong])


def _draw(folder: Path, data: dict[str, NDArray[Any]]) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [str(name) for name in data["class_names"]]
    style: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
    }
    with rc_context({**style, "font.size": 9, "axes.titlesize": 10}):
        for name, figure in (
            ("training", _training(data["history"])),
            ("confusion", _confusion(data["confusion"], names)),
            ("weights", _weights(data["weights"], names)),
            ("samples", _samples(data["images"], data["labels"], data["class_ids"], names)),
        ):
            FigureCanvasAgg(figure)
            figure.savefig(folder / f"{name}.png", dpi=110)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def _training(history: NDArray[np.float64]) -> Any:
    epochs, cost, accuracy, validation_cost, validation_accuracy, _ = history.T
    figure = _figure(8, 3.2)
    for axes, title, training, validation in zip(
        figure.subplots(1, 2),
        ("cost (mean cross-entropy, nats)", "accuracy"),
        (cost, accuracy),
        (validation_cost, validation_accuracy),
        strict=True,
    ):
        axes.plot(epochs, training, "o-", ms=3, color=_TRAINING, label="training")
        if not np.isnan(validation).all():
            axes.plot(epochs, validation, "o-", ms=3, color=_VALIDATION, label="validation")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def _confusion(confusion: NDArray[np.int64], names: list[str]) -> Any:
    from matplotlib.colors import PowerNorm

    classes = len(names)
    figure = _figure(*(2 * [max(4.5, 1.2 + 0.42 * min(classes, _MOST_CLASSES))]))
    axes = figure.subplots()
    # Mistakes are few, so the scale gives them most of the colours.
    axes.imshow(confusion, cmap="Blues", norm=PowerNorm(0.35, vmin=0, vmax=confusion.max()))
    if classes <= _MOST_CLASSES:
        ticks = range(classes)
        rotation = 90 if max(map(len, names)) > 3 else 0
        axes.set_xticks(ticks, names, rotation=rotation)
        axes.set_yticks(ticks, names)
    right = confusion.trace() / confusion.sum()
    axes.set(title=f"test accuracy {right:.4f}", xlabel="predicted", ylabel="label")
    if classes <= 30:
        for row, column in np.argwhere(confusion > 0):
            count = confusion[row, column]
            colour = "white" if count > 0.15 * confusion.max() else _INK
            axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    return figure


def _weights(weights: NDArray[np.float32], names: list[str]) -> Any:
    names = names[:_MOST_CLASSES]
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = _figure(1.6 * columns, 0.3 + 1.7 * rows)
    limit = float(np.abs(weights).max()) or 1.0
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        axes.axis("off")
        if index < len(names):
            image = axes.imshow(weights[..., index], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(names[index])
    figure.colorbar(image, ax=grid, shrink=0.8, label="weight: red speaks for the class")
    return figure


def _samples(
    images: NDArray[np.uint8], labels: NDArray[Any], class_ids: NDArray[Any], names: list[str]
) -> Any:
    rows = -(-len(images) // _COLUMNS)
    figure = _figure(_COLUMNS * 1.0, 0.3 + 1.25 * rows)
    for index, axes in enumerate(figure.subplots(rows, _COLUMNS, squeeze=False).flat):
        axes.axis("off")
        if index < len(images):
            label, predicted = names[labels[index]], names[class_ids[index]]
            right = label == predicted
            axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255)
            axes.set_title(
                label if right else f"{label} → {predicted}", color=_INK if right else _WRONG
            )
    figure.suptitle("the first test images, and the first mistakes: label → predicted")
    return figure


if __name__ == "__main__":
    with np.load(sys.stdin.buffer) as arrays:
        _draw(Path(sys.argv[1]), dict(arrays))
