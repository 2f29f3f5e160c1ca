"""``kmnist predict``: the class of each picture, from a server or from a version folder."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Command, json_option
from kmnist.cli._options import Connection, connection_options, server_option
from kmnist.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client, Prediction, Predictions

__all__ = ["command"]

_BAR: Final = 20


@click.command(cls=Command)
@click.argument("pictures", nargs=-1, metavar="PICTURE...")
@click.option("--random", "at_random", is_flag=True, help="Show a test image, and ask for it.")
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="Where --random takes it from: mnist, a folder of IDX files, or a TFDS name.",
)
@server_option
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Ask this version folder, or the latest under it, instead of a server.",
)
@connection_options
@json_option
def command(
    pictures: tuple[str, ...],
    at_random: bool,
    dataset: str,
    server: str,
    model: Path | None,
    connection: Connection,
    as_json: bool,
) -> None:
    """Tell which digit a picture shows.

    Each PICTURE is a PNG, JPEG, GIF, BMP or WebP file of any size and colour, or - for one on
    standard input. Dark ink on light paper and the reverse are both understood.
    """
    if at_random == bool(pictures):
        raise InputError(
            f"received {len(pictures)} pictures{' and --random' if at_random else ''}; expected "
            "one or more pictures, or --random"
        )
    with connection.open(server, model) as client:
        if at_random:
            _predict_at_random(client, dataset, as_json)
        else:
            _predict_pictures(client, pictures, as_json)


def _predict_pictures(client: "Client", pictures: Sequence[str], as_json: bool) -> None:
    contents = [_content(picture) for picture in pictures]
    predictions = _ask(client, pictures, contents)
    if as_json:
        found = [
            {"picture": picture, **_as_dict(predictions, index)}
            for index, picture in enumerate(pictures)
        ]
        click.echo(json.dumps({"predictions": found}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("class")
    table.add_column("confidence", justify="right")
    table.add_column("")
    for picture, prediction in zip(pictures, predictions, strict=True):
        table.add_row(_plain(picture), prediction.class_name, *_confidence(prediction))
    Console(highlight=False).print(table)


def _predict_at_random(client: "Client", dataset: str, as_json: bool) -> None:
    import random

    from kmnist import load_dataset

    loaded = load_dataset(dataset, validation_size=0)
    index = random.randrange(len(loaded.test))  # noqa: S311 - nothing depends on it
    image, label = loaded.test.images[index], loaded.class_names[int(loaded.test.labels[index])]
    predictions = client.predict(image)
    if as_json:
        answer = {"dataset": loaded.name, "index": index, "label": label}
        click.echo(json.dumps({**answer, **_as_dict(predictions, 0)}))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_drawing(image, colours=console.color_system is not None), soft_wrap=True)
    confidence, bar = _confidence(predictions[0])
    console.print(f"image       {index} of the {len(loaded.test)} test images of {loaded.name}")
    console.print(f"label       {label}")
    console.print(f"prediction  {predictions[0].class_name}  {confidence}  {bar}")


def _content(picture: str) -> bytes:
    if picture == "-":
        content: bytes = sys.stdin.buffer.read()
        return content
    try:
        return Path(picture).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the picture {picture}: {error.strerror}; expected a picture file"
        ) from None


def _ask(client: "Client", pictures: Sequence[str], contents: list[bytes]) -> "Predictions":
    from kmnist.client import InvalidInputError

    try:
        return client.predict_pictures(contents)
    except InvalidInputError:
        # The server refuses them together; alone, the broken one can be named.
        for picture, content in zip(pictures, contents, strict=True):
            try:
                client.predict_pictures(content)
            except InvalidInputError as error:
                raise InputError(f"{picture}: {error}") from None
        raise


def _as_dict(predictions: "Predictions", index: int) -> dict[str, Any]:
    return {
        **predictions[index]._asdict(),
        "probabilities": [round(float(each), 6) for each in predictions.probabilities[index]],
    }


def _confidence(prediction: "Prediction") -> tuple[str, str]:
    filled = round(prediction.probability * _BAR)
    return f"{prediction.probability:.1%}", "█" * filled + "░" * (_BAR - filled)


def _plain(name: str) -> str:
    """A file's name without what rich, or the terminal, would take for an order."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "�" for c in name))


def _drawing(image: "NDArray[np.uint8]", *, colours: bool) -> Any:
    """The image as text: two rows of pixels a line in colour, two characters a pixel without."""
    from rich.text import Text

    if not colours:
        shades = " ░▒▓█"
        rows = ("".join(shades[value * 5 // 256] * 2 for value in row) for row in image.tolist())
        return Text("\n".join(rows))
    drawing = Text()
    rows = image.tolist()
    for upper, lower in zip(rows[::2], [*rows[1::2], [0] * len(rows[0])], strict=False):
        for above, below in zip(upper, lower, strict=True):
            drawing.append("▀", f"rgb({above},{above},{above}) on rgb({below},{below},{below})")
        drawing.append("\n")
    drawing.rstrip()
    return drawing
