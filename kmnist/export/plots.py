"""Plots of a version: learning curves, confusion matrix, weights as images, sample images.

They are drawn in another process while TensorFlow writes and verifies the SavedModel:
``python -m kmnist.export.plots FOLDER`` reads the data from its standard input.
"""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.data import Dataset
from kmnist.errors import PlotError
from kmnist.metrics import Epoch, Evaluation
from kmnist.pictures.measure import ink_extent

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["drawing_plots"]

_COLUMNS: Final = 8
_ROWS: Final = 2

# More weights and names cannot be read, and matplotlib takes minutes for the layout of hundreds.
_MOST_CLASSES: Final = 62

# The first that is installed and has a character draws it.
_FONTS: Final = (
    "DejaVu Sans",
    *("Noto Sans CJK JP", "Noto Sans CJK KR", "NanumGothic", "IPAexGothic"),
    *("Apple SD Gothic Neo", "Hiragino Sans", "Malgun Gothic", "Yu Gothic", "Microsoft YaHei"),
)

# The colours of the drawing page.
_INK: Final = "#222222"
_BLUE: Final = "#3451d1"
_ORANGE: Final = "#d9730d"
_RED: Final = "#b3261e"

# What the other process draws from.
_Data = Mapping[str, NDArray[Any]]


@contextmanager
def drawing_plots(
    folder: Path,
    dataset: Dataset,
    evaluation: Evaluation,
    history: Sequence[Epoch],
    kernel: "keras.Variable | None",
) -> Iterator[None]:
    """Draw training.png, confusion.png, weights.png and samples.png while the block runs.

    Args:
        folder: An existing folder for the plots.
        dataset: The data set of the model.
        evaluation: The evaluation on its test split.
        history: The epochs of the training; training.png is not drawn if there are none.
        kernel: float32 (height * width, classes), the weights of the pixels; weights.png is not
            drawn if None.

    Raises:
        PlotError: The plots could not be drawn.
    """
    test = dataset.test
    # The first test images, then the first mistakes after them.
    count = min(_COLUMNS * _ROWS, len(test))
    mistakes = np.flatnonzero(evaluation.class_ids[count:] != test.labels[count:]) + count
    shown = [*range(count), *mistakes[: _COLUMNS * _ROWS]]
    arrays: dict[str, Any] = {
        "confusion": evaluation.confusion,
        "images": test.images[shown],
        "labels": test.labels[shown],
        "class_ids": evaluation.class_ids[shown],
        "class_names": np.array(dataset.class_names, str),
        "is_ink": np.array(ink_extent(dataset.train.images) is not None),
    }
    if history:
        epochs = [list(asdict(epoch).values()) for epoch in history]
        arrays["history"] = np.array(epochs, np.float64)
    if kernel is not None:
        arrays["weights"] = kernel.numpy().reshape(*dataset.image_shape, -1)
    data = io.BytesIO()
    np.savez(data, **arrays)
    with ThreadPoolExecutor(1) as pool:
        drawing = pool.submit(
            subprocess.run,
            [sys.executable, "-m", "kmnist.export.plots", str(folder)],
            # The other Python finds the same packages.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            input=data.getvalue(),
            stderr=subprocess.PIPE,
        )
        yield
    done = drawing.result()
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PlotError(f"the plots could not be drawn: {reason.splitlines()[-1]}")


def _draw(folder: Path, data: _Data) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import get_font_names

    installed = get_font_names()
    style: dict[Any, Any] = {
        # The search for the others takes half a second.
        "font.family": [name for name in _FONTS if name in installed],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
    }
    plots = {"samples": _samples, "confusion": _confusion}
    plots |= {"training": _training} if "history" in data else {}
    plots |= {"weights": _weights} if "weights" in data else {}
    with rc_context(style):
        for name, plot in plots.items():
            figure = plot(data)
            FigureCanvasAgg(figure)
            figure.savefig(folder / f"{name}.png", dpi=110)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def _names(data: _Data, most: int) -> tuple[list[str], int]:
    """Return the names of the classes, cut to ``most`` columns of text, and the longest width."""
    from rich.cells import cell_len, set_cell_size  # letters of East Asia are two columns wide

    names = [str(name) for name in data["class_names"]]
    longest = max(map(cell_len, names))
    short = [
        name if cell_len(name) <= most else f"{set_cell_size(name, most - 1).rstrip()}…"
        for name in names
    ]
    return short, min(longest, most)


def _training(data: _Data) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    epochs, cost, accuracy, validation_cost, validation_accuracy, _ = data["history"].T
    first, last = epochs[[0, -1]]
    ticks = MaxNLocator(7, integer=True).tick_values(first, last)
    # The last one has its own tick, and room for its number.
    ticks = [*ticks[(ticks >= first) & (ticks < last - np.ptp(ticks[:2]) / 2)], last]
    figure = _figure(8, 3.2)
    left, right = figure.subplots(1, 2)
    for axes, title, training, validation in (
        (left, "cost (mean cross-entropy, nats)", cost, validation_cost),
        (right, "accuracy", accuracy, validation_accuracy),
    ):
        axes.plot(epochs, training, "o-", ms=3, color=_BLUE, label="training, while learning")
        if not np.isnan(validation).all():
            label = "validation, after the epoch"
            axes.plot(epochs, validation, "o-", ms=3, color=_ORANGE, label=label)
        axes.set(title=title, xlabel="epoch", xticks=ticks)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return figure


def _confusion(data: _Data) -> "Figure":
    from matplotlib.colors import PowerNorm

    confusion = data["confusion"]
    names, longest = _names(data, 20)
    classes = len(names)
    side = max(4.5, 1.1 + 0.08 * longest + 0.42 * min(classes, _MOST_CLASSES))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    # Mistakes are few, so the scale gives them most of the colours.
    norm = PowerNorm(0.35, vmin=0, vmax=confusion.max())
    image = axes.imshow(confusion, cmap="Blues", norm=norm)
    ticks = [0, *(10**power for power in range(len(str(confusion.max()))))]
    figure.colorbar(image, ax=axes, shrink=0.6, ticks=ticks, format="{x:.0f}", label="images")
    right = confusion.trace() / confusion.sum()
    axes.set(title=f"test accuracy {right:.4f}", xlabel="predicted", ylabel="label")
    if classes <= _MOST_CLASSES:
        axes.set_xticks(range(classes), names, rotation=90 if longest > 3 else 0)
        axes.set_yticks(range(classes), names)
        for row, column in np.argwhere(confusion > 0):
            count = confusion[row, column]
            colour = "white" if count > 0.15 * confusion.max() else _INK
            axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    return figure


def _weights(data: _Data) -> "Figure":
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("weights", [_RED, "white", _BLUE])
    weights = data["weights"]
    names = _names(data, 18)[0][:_MOST_CLASSES]
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    width = max(4.2, 1.6 * columns)
    height = 0.9 + (width / columns + 0.2) * rows
    figure = _figure(width, height)
    # A single hot pixel would leave all other weights white.
    limit = float(np.quantile(np.abs(weights), 0.99)) or float(np.abs(weights).max()) or 1.0
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for index, name in enumerate(names):
        axes = grid.flat[index]
        image = axes.imshow(weights[..., index], cmap=colours, vmin=-limit, vmax=limit)
        axes.set_title(name)
    shown = "ink" if data["is_ink"] else "light"
    label = f"weight: {shown} on blue raises the score, on red lowers it"
    bar: Any = {"location": "bottom", "extend": "both", "aspect": 40}
    figure.colorbar(image, ax=grid, label=label, fraction=0.2 / height, pad=0.1 / height, **bar)
    return figure


def _samples(data: _Data) -> "Figure":
    from matplotlib.figure import Figure

    images = data["images"]
    tones = "gray_r" if data["is_ink"] else "gray"  # ink is dark on paper, clothes are as they are
    names, longest = _names(data, 12)
    # Short names fit beside an arrow, longer ones above one another.
    arrow, size = (" → ", 10) if longest <= 3 else ("\n→ ", 8)
    rows = -(-len(images) // _COLUMNS)
    # In inches, and in one pair of axes: a pair for each image takes several times as long.
    figure = Figure((_COLUMNS, 0.3 + 1.25 * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    height, width = (0.45 * side / max(images.shape[1:]) for side in images.shape[1:])
    for index, image in enumerate(images):
        row, column = divmod(index, _COLUMNS)
        x, y = column + 0.5, row * 1.25 + 1.03
        extent = (x - width, x + width, y + height, y - height)
        axes.imshow(image, cmap=tones, vmin=0, vmax=255, extent=extent)
        label, predicted = data["labels"][index], data["class_ids"][index]
        title = names[label] if label == predicted else f"{names[label]}{arrow}{names[predicted]}"
        colour = _INK if label == predicted else _RED
        top = y - height - 0.06
        axes.text(x, top, title, color=colour, fontsize=size, ha="center", va="bottom")
    axes.set(xlim=(0, _COLUMNS), ylim=(0.3 + 1.25 * rows, 0))
    axes.axis("off")
    figure.suptitle("the first test images, then the next mistakes: label → predicted")
    return figure


if __name__ == "__main__":
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as arrays:
        _draw(Path(sys.argv[1]), dict(arrays))
