"""``kmnist export``: publish a classifier that was trained elsewhere."""

from pathlib import Path
from typing import Any

import click

from kmnist.cli._base import Command
from kmnist.cli._data import load_data
from kmnist.cli._options import (
    dataset_options,
    json_option,
    models_argument,
    models_option,
    publishing_options,
)
from kmnist.cli._output import show_result
from kmnist.cli._tensorflow import require_tensorflow, starting_tensorflow
from kmnist.errors import ExportError, InputError

__all__ = ["command"]


@click.command("export", cls=Command)
@click.argument(
    "file",
    metavar="MODEL.keras",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@dataset_options
@click.option(
    "--pixel-range",
    nargs=2,
    metavar="LOW HIGH",
    type=float,
    default=(0, 255),
    help="The range of the pixels that the model was trained on: 0 255, 0 1 or -1 1.",
)
@models_option()
@publishing_options
@json_option
def command(
    file: Path,
    dataset: str,
    data_dir: Path | None,
    pixel_range: tuple[float, float],
    models: Path,
    min_accuracy: float,
    label: str | None,
    as_json: bool,
) -> None:
    """Export a Keras classifier as the next version.

    MODEL.keras is a classifier of grey images, saved with model.save, that was trained by any means.
    It is evaluated on the test split of --dataset, the data that it was trained on, whose pictures are
    converted to its images, and exported, verified and published as `kmnist train` does.
    """
    from kmnist.versions import check_writable

    if file.suffix != ".keras":
        raise InputError(f"{file} is not a .keras file: save the model with model.save('x.keras')")
    require_tensorflow()
    check_writable(models)
    with starting_tensorflow():
        from kmnist import evaluate
        from kmnist.export.saved_model import export_model, read_keras_file
    model = read_keras_file(file)
    size = _image_size(getattr(model, "input_shape", None))
    data = load_data(dataset, data_dir, grey=True, image_size=size, validation_size=0)
    evaluation = evaluate(model, data.test, pixel_range=pixel_range)
    result: dict[str, Any] = {
        "published": False,
        "version": None,
        "path": None,
        "label": label,
        "test": {"accuracy": evaluation.accuracy, "cost": evaluation.cost},
    }
    try:
        folder = export_model(
            model,
            data,
            models,
            evaluation=evaluation,
            pixel_range=pixel_range,
            min_accuracy=min_accuracy,
            label=label,
        )
    except ExportError:
        if as_json:
            show_result(result, as_json, _print)
        raise
    result |= {"published": True, "version": int(folder.name), "path": str(folder)}
    show_result(result, as_json, _print)


def _image_size(input_shape: Any) -> tuple[int, int] | None:
    """Return the height and width of the images of a model; None if its input does not say them."""
    match input_shape:
        case (_, int(height), int(width)) | (_, int(height), int(width), 1):
            return height, width
    return None


def _print(result: dict[str, Any]) -> None:
    folder = Path(result["path"])
    labelled = f" with the label {result['label']}" if result["label"] else ""
    click.echo(f"test accuracy {result['test']['accuracy']:.4f}")
    click.echo(
        f"exported {folder}{labelled}; serve it with: kmnist serve{models_argument(folder.parent)}"
    )
