"""The options that commands share, each defined once."""

import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from kmnist.errors import KmnistError

NAME: Final = "kmnist"
MODELS: Final = Path("models") / NAME
SERVERS: Final = ("grpc://localhost:8500", "http://localhost:8501")

F = TypeVar("F", bound=Callable[..., Any])

# A week at most: longer times overflow the clocks of some libraries.
SECONDS: Final = click.FloatRange(0, 604_800, min_open=True)

json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."
)

models_option: Final = partial(
    click.option,
    "--models",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=MODELS,
    envvar="KMNIST_MODELS",
    show_envvar=True,
    help="The folder of versions.",
)

server_option: Final = partial(
    click.option,
    "--server",
    metavar="SCHEME://HOST:PORT",
    default=SERVERS[0],
    envvar="KMNIST_SERVER",
    show_envvar=True,
    help="The server; the scheme is grpc, grpcs, http or https.",
)

name_option: Final = click.option(
    "--name",
    help="The name of the model on the server; by default the name of its folder, or kmnist.",
)


def complete_existing(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a label, or the number of a version, with those in the folder of versions."""
    from kmnist.versions import list_versions, read_labels

    models = ctx.params.get("models") or os.environ.get("KMNIST_MODELS") or MODELS
    existing = read_labels if param.name == "label" else list_versions
    with suppress(KmnistError, OSError):  # a folder that cannot be read has none
        return [name for name in map(str, sorted(existing(models))) if name.startswith(incomplete)]
    return []


label_option: Final = partial(click.option, "--label", shell_complete=complete_existing)


def _complete_dataset(_: Any, __: Any, incomplete: str) -> list[CompletionItem]:
    if not "mnist".startswith(incomplete):
        return [CompletionItem(incomplete, type="file")]
    # bash would not show files beside a name.
    folders = sorted(path.name for path in Path().glob(f"{incomplete}*/"))
    return [CompletionItem(name) for name in ("mnist", *folders) if name[0] != "."]


def timeout_option(help: str, *, default: float = 30.0) -> Callable[[F], F]:
    """Define ``--timeout``."""
    return click.option("--timeout", type=SECONDS, metavar="SECONDS", default=default, help=help)


def dataset_options(function: F) -> F:
    """Add ``--dataset`` and ``--data-dir``."""
    return _apply(
        click.option(
            "--dataset",
            default="mnist",
            shell_complete=_complete_dataset,
            help="The images: mnist (bundled), a folder of IDX files, a folder of pictures "
            "(train/CLASS/*.png beside val or test, or CLASS/*.png to be split), an .npz file, or a "
            "TFDS name such as kmnist.",
        ),
        click.option(
            "--data-dir",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="The folder of prepared TFDS data sets and downloads, and of the images read from "
            "pictures, which are otherwise kept beside their folder.",
        ),
    )(function)


def _as_image_size(
    _: click.Context, __: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = value.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise click.BadParameter(f"{value!r} is not a size such as 28 or 28x20.")
    return int(sides[0]), int(sides[-1])


def conversion_options(function: F) -> F:
    """Add ``--grey`` and ``--image-size``, which change the images of a data set."""
    return _apply(
        click.option("--grey", is_flag=True, help="Convert to greyscale."),
        click.option(
            "--image-size",
            metavar="N|HxW",
            callback=_as_image_size,
            help="The size to scale the pictures of a folder to, such as 28 or 28x20.",
        ),
    )(function)


def publishing_options(function: F) -> F:
    """Add ``--min-accuracy`` and ``--label``."""
    return _apply(
        click.option(
            "--min-accuracy",
            metavar="X",
            type=click.FloatRange(0, 1),
            default=0.0,
            help="Publish nothing, and exit with 1, if the test accuracy is lower.",
        ),
        label_option(metavar="NAME", help="Point this label at the published version."),
    )(function)


def port_options(zero: str) -> Callable[[F], F]:
    """Define ``--grpc-port`` and ``--rest-port``; ``zero`` is what port 0 does."""
    return _apply(
        *(
            click.option(
                f"--{api.lower()}-port",
                metavar="PORT",
                type=click.IntRange(0, 65535),
                default=default,
                help=f"The port of the {api} API on this machine; 0 {zero}.",
            )
            for api, default in (("gRPC", 8500), ("REST", 8501))
        )
    )


def client_options(function: F) -> F:
    """Add the options that ``open_client`` of ``_client.py`` takes as keyword arguments."""
    return _apply(
        name_option,
        click.option(
            "--version",
            type=click.IntRange(min=0),
            metavar="N",
            shell_complete=complete_existing,
            help="The version of the model; by default the latest.",
        ),
        label_option(help="The label of the version, instead of its number."),
        timeout_option("The time that one call may take, in seconds."),
        click.option(
            "--header",
            "headers",
            multiple=True,
            metavar="NAME:VALUE",
            help="A header to send with every request; may be repeated.",
        ),
        click.option(
            "--ca",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="The certificates to trust, in a PEM file, for grpcs:// and https://.",
        ),
    )(function)


def is_given(name: str) -> bool:
    """Return whether the option ``name`` is on the command line of the running command."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def refuse_both_sources() -> None:
    """Raise a usage error if both ``--models`` and ``--server`` are on the command line."""
    if is_given("models") and is_given("server"):
        raise click.UsageError("--models and --server cannot be used together")


def models_argument(models: Path) -> str:
    """Return the option that selects ``models``, to append to a command line; "" for the default."""
    return "" if models == MODELS else f" --models {shlex.quote(str(models))}"


def _apply(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Combine decorators into one; the first option is listed first in the help."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
