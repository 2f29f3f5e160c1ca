"""``kmnist call``: a request in the form of TensorFlow Serving's REST API, to any model."""

from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask
from kmnist.cli._options import client_options, server_option
from kmnist.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kmnist.client import Client
    from kmnist.protocol.json import PredictBody

__all__ = ["command"]

_DEFAULT: Final = "serving_default"


@click.command("call", cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--signature", help=f"The signature to call; by default that of FILE, or {_DEFAULT}.")
@server_option()
@client_options
def command(file: str, signature: str | None, server: str, **client_arguments: Any) -> None:
    """Call a signature of any model.

    FILE, or - for standard input, is the body of a predict request in the JSON of TensorFlow
    Serving's REST API: {"instances": [...]}, a row for each example, or {"inputs": {...}}, an array for
    each input. The answer is printed as the API gives it, "predictions" or "outputs", over gRPC as well.
    """
    from kmnist.protocol.json import BodyError, encode, parse

    try:
        with click.open_file(file, "rb") as opened:
            body = parse(opened.read())
        outputs = ask(server, lambda client: _call(client, body, signature), **client_arguments)
        click.echo(encode(outputs, by_row=body.by_row))
    except BodyError as error:
        raise InputError(f"{file}: {error}") from None


def _call(
    client: "Client", body: "PredictBody", signature: str | None
) -> "dict[str, NDArray[Any]]":
    import numpy as np

    name = signature or body.signature_name or _DEFAULT
    found = client.metadata().signatures.get(name)
    if found is None:
        return client.call({}, signature=name)  # raises an error that lists the signatures
    any_dtype = np.dtype(object)
    dtypes = {name: spec.array_dtype or any_dtype for name, spec in found.inputs.items()}
    return client.call(body.inputs(dtypes), signature=name)
