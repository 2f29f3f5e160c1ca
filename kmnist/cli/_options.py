"""The options of every command that asks a server, and the client they make."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import InputError, KmnistError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.server.local import LocalModel

__all__ = ["DEFAULT_SERVER", "Connection", "connection_options", "server_option"]

DEFAULT_SERVER: Final = "grpc://localhost:8500"

F = TypeVar("F", bound=Callable[..., Any])

server_option = click.option(
    "--server",
    metavar="URL",
    envvar="KMNIST_SERVER",
    default=DEFAULT_SERVER,
    show_default=True,
    show_envvar=True,
    help="grpc://, grpcs://, http:// or https://, host and port.",
)


@dataclass(frozen=True)
class Connection:
    """What is asked, and how, whichever the server."""

    name: str
    version: int | None
    label: str | None
    timeout: float
    headers: tuple[str, ...]
    ca: str | None

    def open(self, server: str, model: Path | None = None, **options: Any) -> "Client":
        """A client of ``server`` or, if there is one, of the folder ``model`` without any server.

        ``options`` go before what the command line says.

        Raises:
            InputError: A header is not NAME:VALUE, or a label is asked of a folder.
            MissingError: The folder has no such version.
            InvalidInputError: Another option cannot be used.
        """
        from kmnist.client import TLS, Client

        given: dict[str, Any] = {
            "model": self.name,
            "version": self.version,
            "label": self.label,
            "timeout": self.timeout,
            "headers": dict(map(_header, self.headers)),
            "tls": TLS(ca=self.ca) if self.ca is not None else None,
        }
        if model is not None:
            given |= {"version": None, "transport": self._load(model)}
        return Client(server, **given | options)

    def _load(self, model: Path) -> "LocalModel":
        if self.label is not None:
            raise InputError("received --label with a folder, which has versions only: --version N")
        try:
            with starting_tensorflow():
                from kmnist.server.local import LocalModel
        except ModuleNotFoundError as error:
            raise KmnistError(
                f"--model needs {error.name}; pip install kmnist, or use --server"
            ) from None
        return LocalModel(model, self.version)


def connection_options(function: F) -> F:
    """Adds the options that :class:`Connection` holds, as the argument ``connection``."""

    def with_connection(**arguments: Any) -> Any:
        fields = {name: arguments.pop(name) for name in Connection.__dataclass_fields__}
        return function(**arguments, connection=Connection(**fields))

    with_connection.__doc__ = function.__doc__
    with_connection.__name__ = function.__name__
    wrapped: Any = with_connection
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    result: F = wrapped
    return result


_OPTIONS: Final = (
    click.option("--name", default="kmnist", show_default=True, help="The model's name there."),
    click.option(
        "--version", type=click.IntRange(0), metavar="N", help="The version.  [default: the latest]"
    ),
    click.option("--label", help="The label of the version, instead of its number."),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=30.0,
        show_default=True,
        help="Seconds for one call.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME:VALUE",
        help="Sent with every request; may be repeated.",
    ),
    click.option(
        "--ca",
        type=click.Path(dir_okay=False),
        help="A PEM file of the authorities to trust, for grpcs:// and https://.",
    ),
)


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name.strip():
        # Not the value itself: it may be a secret.
        raise InputError("received a --header without a colon; expected NAME:VALUE")
    return name.strip(), value.strip()
