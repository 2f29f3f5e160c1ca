"""Plots of a version: learning curves, confusion matrix, weights as images, sample images.

They are drawn in another process while TensorFlow writes and verifies the SavedModel:
``python -m kmnist.export.plots FOLDER`` reads the data from its standard input.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from kmnist.data import Split
from kmnist.errors import PlotError
from kmnist.metrics import Epoch, Evaluation

__all__ = ["drawing_plots"]

_COLUMNS: Final = 8
_ROWS: Final = 2

# More weights and names cannot be read, and matplotlib takes minutes for the layout of hundreds.
_MOST_CLASSES: Final = 62

_INK: Final = "#222222"
_TRAINING: Final = "#3451d1"
_VALIDATION: Final = "#d9730d"
_WRONG: Final = "#b3261e"
# The colours of the drawing page.
_FOR: Final = "#3451d1"
_AGAINST: Final = "#b3261e"


@contextmanager
def drawing_plots(
    folder: Path,
    history: Sequence[Epoch],
    evaluation: Evaluation,
    *,
    weights: NDArray[np.float32] | None,
    test: Split,
    class_names: Sequence[str],
) -> Iterator[list[str]]:
    """Draw training.png, confusion.png, weights.png and samples.png while the block runs.

    Leaving the block waits for the drawing to finish; an error in the block stops it.

    Args:
        folder: An existing folder for the plots.
        history: The epochs of the training; training.png is not drawn if there are none.
        evaluation: The evaluation on the test split.
        weights: float32 (height, width, classes), the weights of the pixels; weights.png is not
            drawn if None.
        test: The split that was evaluated.
        class_names: The name of each class.

    Yields:
        The names of the plots.

    Raises:
        PlotError: The plots could not be drawn.
    """
    chosen = _choose(evaluation, test)
    arrays: dict[str, Any] = {
        "confusion": evaluation.confusion,
        "images": test.images[chosen],
        "labels": test.labels[chosen],
        "class_ids": evaluation.class_ids[chosen],
        "class_names": np.array(class_names, str),
    }
    if history:
        arrays["history"] = np.array(
            [list(asdict(epoch).values()) for epoch in history], np.float64
        )
    if weights is not None:
        arrays["weights"] = weights
    with tempfile.TemporaryFile() as data:
        np.savez(data, **arrays)
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
            yield [f"{name}.png" for name in _plots_of(arrays)]
        except BaseException:
            process.kill()
            raise
        _, stderr = process.communicate()
    if process.returncode:
        reason = (stderr.strip() or f"exit code {process.returncode}").splitlines()[-1]
        raise PlotError(f"the plots could not be drawn: {reason}")


def _choose(evaluation: Evaluation, test: Split) -> NDArray[np.int64]:
    """Return the indices of the first test images, then of the first mistakes after them."""
    count = _COLUMNS * _ROWS
    wrong = np.flatnonzero(evaluation.class_ids != test.labels)
    return np.concatenate([np.arange(min(count, len(test))), wrong[wrong >= count][:count]])


def _plots_of(data: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the names of the plots that the data suffices for."""
    needed = {"training": "history", "confusion": "confusion", "weights": "weights"}
    return ["samples", *(name for name, array in needed.items() if array in data)]


def _draw(folder: Path, data: dict[str, NDArray[Any]]) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    names = [str(name) for name in data["class_names"]]
    style: dict[Any, Any] = {
        "font.family": _fonts("".join(names)),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
    }
    with rc_context({**style, "font.size": 9, "axes.titlesize": 10}):
        for name in _plots_of(data):
            if name == "training":
                figure = _training(data["history"])
            elif name == "weights":
                figure = _weights(data["weights"], names)
            elif name == "confusion":
                figure = _confusion(data["confusion"], names)
            else:
                figure = _samples(data["images"], data["labels"], data["class_ids"], names)
            FigureCanvasAgg(figure)
            figure.savefig(folder / f"{name}.png", dpi=110)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def _fonts(text: str) -> list[str]:
    """Return the default font, and one for the characters that it lacks, if one is installed."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    default = findfont("DejaVu Sans")
    missing = {ord(character) for character in text} - get_font(default).get_charmap().keys()
    fonts = ["DejaVu Sans"]
    if missing:
        # The first in the order of names, so that equal machines draw equally.
        for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
            # Last Resort, which Matplotlib contains, has a box for every character.
            if entry.name.startswith("Last Resort"):
                continue
            if missing <= get_font(entry.fname).get_charmap().keys():
                return [*fonts, entry.name]
    return fonts


def _width(name: str) -> int:
    """Return the width of a name in Latin letters; Chinese, Japanese and Korean ones count twice."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in name)


def _short(name: str, most: int) -> str:
    if _width(name) <= most:
        return name
    while _width(name) >= most:
        name = name[:-1]
    return f"{name.rstrip()}…"


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
        axes.plot(epochs, training, "o-", ms=3, color=_TRAINING, label="training, while learning")
        if not np.isnan(validation).all():
            axes.plot(
                epochs,
                validation,
                "o-",
                ms=3,
                color=_VALIDATION,
                label="validation, after the epoch",
            )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def _confusion(confusion: NDArray[np.int64], names: list[str]) -> Any:
    from matplotlib.colors import PowerNorm

    classes = len(names)
    names = [_short(name, 20) for name in names]
    longest = max(map(_width, names))
    shown = min(classes, _MOST_CLASSES)
    figure = _figure(*(2 * [max(4.5, 1.1 + 0.08 * longest + 0.42 * shown)]))
    axes = figure.subplots()
    # Mistakes are few, so the scale gives them most of the colours.
    axes.imshow(confusion, cmap="Blues", norm=PowerNorm(0.35, vmin=0, vmax=confusion.max()))
    if classes <= _MOST_CLASSES:
        ticks = range(classes)
        rotation = 90 if longest > 3 else 0
        axes.set_xticks(ticks, names, rotation=rotation)
        axes.set_yticks(ticks, names)
    right = confusion.trace() / confusion.sum()
    axes.set(title=f"test accuracy {right:.4f}", xlabel="predicted", ylabel="label")
    if classes <= _MOST_CLASSES:
        for row, column in np.argwhere(confusion > 0):
            count = confusion[row, column]
            colour = "white" if count > 0.15 * confusion.max() else _INK
            axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    return figure


def _weights(weights: NDArray[np.float32], names: list[str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("weights", [_AGAINST, "white", _FOR])
    names = names[:_MOST_CLASSES]
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = _figure(1.6 * columns, 0.3 + 1.7 * rows)
    limit = float(np.abs(weights).max()) or 1.0
    grid = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        axes.axis("off")
        if index < len(names):
            image = axes.imshow(weights[..., index], cmap=colours, vmin=-limit, vmax=limit)
            axes.set_title(_short(names[index], 18))
    figure.colorbar(
        image,
        ax=grid,
        shrink=0.8,
        aspect=10 * rows,
        label="weight: ink on blue raises the score, on red lowers it",
    )
    return figure


def _samples(
    images: NDArray[np.uint8], labels: NDArray[Any], class_ids: NDArray[Any], names: list[str]
) -> Any:
    from matplotlib.figure import Figure

    rows = -(-len(images) // _COLUMNS)
    # Short names fit beside an arrow, longer ones above one another.
    arrow, most, size = (" → ", 3, 10) if max(map(_width, names)) <= 3 else ("\n→ ", 12, 8)
    names = [_short(name, most) for name in names]
    # In inches, and in one pair of axes: a pair for each image takes several times as long.
    figure = Figure((_COLUMNS, 0.3 + 1.25 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    scale = 0.9 / max(images.shape[1:])
    height, width = (side * scale / 2 for side in images.shape[1:])
    for index, (image, label, predicted) in enumerate(zip(images, labels, class_ids, strict=True)):
        row, column = divmod(index, _COLUMNS)
        x, y = column + 0.5, row * 1.25 + 1.03
        extent = (x - width, x + width, y + height, y - height)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, extent=extent)
        right = label == predicted
        title = names[label] if right else f"{names[label]}{arrow}{names[predicted]}"
        colour = _INK if right else _WRONG
        top = y - height - 0.06
        axes.text(x, top, title, color=colour, fontsize=size, ha="center", va="bottom")
    axes.set(xlim=(0, _COLUMNS), ylim=(0.3 + 1.25 * rows, 0))
    axes.axis("off")
    figure.suptitle("the first test images, then the next mistakes: label → predicted")
    return figure


if __name__ == "__main__":
    with np.load(sys.stdin.buffer) as arrays:
        _draw(Path(sys.argv[1]), dict(arrays))
