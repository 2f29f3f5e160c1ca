"""``kmnist predict``: the class of each picture, from a server or from a folder of versions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command, interrupt_on_sigterm
from kmnist.cli._client import ask, image_size
from kmnist.cli._options import (
    client_options,
    dataset_options,
    json_option,
    models_option,
    refuse_both_sources,
    server_option,
)
from kmnist.cli._output import print_table, show_result
from kmnist.cli._predictions import Images, open_images, write_file, write_stdout
from kmnist.errors import InputError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.client.stream import Result

__all__ = ["command"]


@click.command("predict", cls=Command)
@click.argument(
    "pictures", nargs=-1, metavar="PICTURE...", type=click.Path(exists=True, allow_dash=True)
)
@click.option(
    "--random", "at_random", is_flag=True, help="Predict a random test image, and draw it."
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write a row for each image into this .csv or .jsonl file; - for JSON Lines on stdout.",
)
@click.option("--resume", is_flag=True, help="Continue an --output that is not complete.")
@server_option()
@models_option(default=None, envvar=None, help="Load a version from this folder instead.")
@client_options
@dataset_options
@json_option
def command(
    pictures: tuple[str, ...],
    at_random: bool,
    output: Path | None,
    resume: bool,
    server: str,
    models: Path | None,
    dataset: str,
    data_dir: Path | None,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Predict the classes of pictures.

    A PICTURE is a PNG, JPEG, BMP or WebP file of any colour and up to 50 million pixels, with dark
    ink on light paper or the reverse; a folder of these; or - for standard input, which holds one
    picture or the paths of pictures, one a line. In place of pictures it may be one file of images,
    IDX, .npy or .npz, of the size that the model takes, or a folder of IDX files, for its test images. With --random, an image of the test split of
    --dataset is predicted instead.

    For models of other images, such as clothes, the picture gets the background of their data;
    whether an object on a transparent canvas should be lighter or darker cannot be determined.

    With --output, any number of images is predicted by one version, with several requests at a time,
    and a broken picture gets a row with the reason. Until it is complete, the output is
    FILE.vN.partial, which --resume continues.
    """
    refuse_both_sources()
    source = models or server
    if at_random == bool(pictures):
        raise click.UsageError("give either pictures or --random")
    if resume and output is None:
        raise click.UsageError("--resume needs --output")
    interrupt_on_sigterm()
    if at_random:
        ask(
            source,
            lambda client: _predict_random(client, dataset, data_dir, as_json),
            **client_arguments,
        )
    elif output is None:
        images = open_images(pictures)
        result = ask(source, lambda client: _predict_pictures(client, images), **client_arguments)
        show_result(result, as_json, _print_table)
    elif output == Path("-"):
        write_stdout(source, open_images(pictures), **client_arguments)
    else:
        summary = write_file(source, pictures, output, resume=resume, **client_arguments)
        show_result(summary, as_json, _print_summary)


def _predict_pictures(client: "Client", images: Images) -> dict[str, Any]:
    """Return the predictions; raise InputError for the first broken picture."""
    from kmnist.client.stream import predict_stream

    found = []
    for result, name in zip(predict_stream(images.values, client), images.names, strict=True):
        if result.error:
            raise InputError(f"{name}: {result.error}")
        found.append({"picture": name, **_as_dict(result)})
    return {"predictions": found}


def _predict_random(client: "Client", dataset: str, data_dir: Path | None, as_json: bool) -> None:
    """Predict an image of a test split and print it."""
    import random

    from kmnist.cli._data import load_data
    from kmnist.cli._drawing import draw_image
    from kmnist.client.stream import predict_stream
    from kmnist.pictures.measure import ink_extent

    size = image_size(client)
    data = load_data(dataset, data_dir, grey=True, image_size=size, validation_size=0)
    index = random.randrange(len(data.test))  # noqa: S311 - not for cryptography
    image = data.test.images[index]
    (result,) = predict_stream(image[None], client)
    label = data.class_names[int(data.test.labels[index])]

    def show(shown: dict[str, Any]) -> None:
        is_ink = ink_extent(data.train.images) is not None
        click.echo(draw_image(image, is_ink=is_ink))
        click.echo(f"test image  {index} of {data.name}")
        click.echo(f"label       {label}")
        click.echo(f"prediction  {'  '.join(_cells(shown))}")

    where = {"dataset": data.name, "index": index, "label": label}
    show_result(where | _as_dict(result), as_json, show)


def _as_dict(result: "Result") -> dict[str, Any]:
    return {
        "class_id": result.class_id,
        "class_name": result.class_name,
        "probability": result.probability,
        "probabilities": [round(each, 6) for each in result.probabilities.tolist()],
    }


def _cells(prediction: dict[str, Any]) -> tuple[str, str, str]:
    from kmnist.cli._drawing import draw_bar

    probability = prediction["probability"]
    return prediction["class_name"], f"{probability:.1%}", draw_bar(probability)


def _print_table(result: dict[str, Any]) -> None:
    rows = [(str(each["picture"]), *_cells(each)) for each in result["predictions"]]
    print_table(("picture", "class", "confidence", ""), rows, right=("confidence",))


def _print_summary(summary: dict[str, Any]) -> None:
    images = f"{summary['images']:,} image{'s' * (summary['images'] != 1)}"
    broken = f", {summary['broken']:,} of them broken" if summary["broken"] else ""
    click.echo(
        f"wrote {summary['output']}: {images}{broken}; {summary['images_per_second']:,.0f} images/s"
    )
