"""``kmnist predict``: the class of each picture, from a server or from a folder of versions.

With ``--input`` and ``--output``, of any number of images.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask
from kmnist.cli._options import (
    client_options,
    dataset_options,
    json_option,
    models_option,
    refuse_both_sources,
    server_option,
)
from kmnist.cli._output import print_table, show_result
from kmnist.cli._stream import predict_into_file
from kmnist.errors import InputError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client, Predictions

__all__ = ["command"]


@click.command("predict", cls=Command)
@click.argument("pictures", nargs=-1, metavar="PICTURE...")
@click.option(
    "--random", "at_random", is_flag=True, help="Predict a random test image, and draw it."
)
@click.option(
    "--input",
    "source",
    metavar="FOLDER|FILE|-",
    help="Predict all pictures of a folder, all images of an IDX or .npz file, or the pictures "
    "whose paths are the lines of standard input.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a line for each image of --input into this .csv, .jsonl or .parquet file.",
)
@click.option("--resume", is_flag=True, help="Continue a run that was interrupted or killed.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@server_option()
@models_option(default=None, envvar=None, help="Load a version from this folder instead.")
@client_options
@dataset_options
@json_option
def command(
    pictures: tuple[str, ...],
    at_random: bool,
    source: str | None,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    server: str,
    models: Path | None,
    dataset: str,
    data_dir: Path | None,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Predict the classes of pictures.

    Each PICTURE is a PNG, JPEG, BMP or WebP file of any colour and up to 50 million pixels, or -
    for one on standard input, with dark ink on light paper or the reverse. For models of other
    images, such as clothes, the picture gets the background of their data; whether an object on a
    transparent canvas should be lighter or darker cannot be determined. With --random, an image of
    the test split of --dataset is predicted instead.

    With --input and --output, any number of images is predicted, with several requests at a time
    and bounded memory. A broken picture gets a line with the reason. The output appears when it is
    complete; until then FILE.partial and FILE.journal hold what --resume needs.
    """
    refuse_both_sources()
    if source is not None or output is not None or resume or overwrite:
        if source is None or output is None or pictures or at_random or (resume and overwrite):
            raise click.UsageError(
                "expected --input and --output, with at most one of --resume and --overwrite, and "
                "neither pictures nor --random"
            )
        predict_into_file(
            models or server,
            source,
            output,
            resume=resume,
            overwrite=overwrite,
            as_json=as_json,
            **client_arguments,
        )
        return
    if at_random == bool(pictures):
        raise InputError(
            f"received {len(pictures)} pictures{' and --random' if at_random else ''}; expected "
            "one or more pictures, or --random"
        )
    if at_random:
        image, result = _random_image(dataset, data_dir)
        predictions = ask(
            models or server, lambda client: client.predict(image), **client_arguments
        )
        show_result(result | _as_dict(predictions, 0), as_json, partial(_print_image, image))
        return
    contents = [_content(picture) for picture in pictures]
    predictions = ask(
        models or server,
        lambda client: _predict_pictures(client, pictures, contents),
        **client_arguments,
    )
    found = [
        {"picture": picture, **_as_dict(predictions, index)}
        for index, picture in enumerate(pictures)
    ]
    show_result({"predictions": found}, as_json, _print_pictures)


def _predict_pictures(
    client: "Client", pictures: Sequence[str], contents: Sequence[bytes]
) -> "Predictions":
    try:
        return client.predict_pictures(contents)
    except InvalidInputError:
        # The server rejects all of them; find the one that is broken.
        for picture, content in zip(pictures, contents, strict=True):
            try:
                client.predict_pictures(content)
            except InvalidInputError as error:
                raise InputError(f"{picture}: {error}") from None
        raise


def _random_image(
    dataset: str, data_dir: Path | None
) -> tuple["NDArray[np.uint8]", dict[str, Any]]:
    """Return a test image, and where it is from."""
    import random

    from kmnist.cli._data import load_data

    data = load_data(dataset, data_dir, grey=True, validation_size=0)
    index = random.randrange(len(data.test))  # noqa: S311 - not for cryptography
    label = data.class_names[int(data.test.labels[index])]
    return data.test.images[index], {"dataset": data.name, "index": index, "label": label}


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


def _as_dict(predictions: "Predictions", index: int) -> dict[str, Any]:
    return {
        **predictions[index]._asdict(),
        "probabilities": [round(float(each), 6) for each in predictions.probabilities[index]],
    }


def _print_pictures(result: dict[str, Any]) -> None:
    print_table(
        ("picture", "class", "confidence", ""),
        [
            (each["picture"], each["class_name"], *_confidence(each))
            for each in result["predictions"]
        ],
        right=("confidence",),
    )


def _print_image(image: "NDArray[np.uint8]", result: dict[str, Any]) -> None:
    from kmnist.cli._drawing import draw_image

    click.echo(draw_image(image))
    click.echo(f"test image  {result['index']} of {result['dataset']}")
    click.echo(f"label       {result['label']}")
    click.echo(f"prediction  {result['class_name']}  {'  '.join(_confidence(result))}")


def _confidence(prediction: dict[str, Any]) -> tuple[str, str]:
    from kmnist.cli._drawing import draw_bar

    probability = prediction["probability"]
    return f"{probability:.1%}", draw_bar(probability)
