"""``kmnist serve``: serve the exported versions over gRPC and REST."""

import logging
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from kmnist.cli._base import INTERRUPTED, Command, interrupt_on_sigterm
from kmnist.cli._options import (
    json_option,
    models_option,
    name_option,
    port_options,
    timeout_option,
)
from kmnist.cli._output import show_result
from kmnist.cli._tensorflow import require_tensorflow, starting_tensorflow
from kmnist.errors import InputError

__all__ = ["command"]

# The hosts that stand for all addresses of this machine, with an address outside of its network.
_OUTSIDE: Final = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # noqa: S104


@click.command("serve", cls=Command)
@models_option()
@name_option
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
@port_options("picks a free one")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=64,
    help="The number of requests that are processed at a time; more are refused.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Refuse a version whose files differ from the checksums in its SHA256SUMS, if it has any.",
)
@timeout_option("The time that a REST request may take, in seconds.")
@json_option
def command(models: Path, as_json: bool, **settings: Any) -> None:
    """Serve the exported versions over gRPC and REST.

    New versions are loaded while the server runs; models.config beside the folder selects the
    versions to load and holds their labels. Ctrl-C or SIGTERM stops the server after the requests
    that it is processing. With --json, one object with the addresses is printed when they answer.
    """
    from kmnist.server import Server

    if models.is_file():
        raise InputError(f"{models} is a file, not a folder of versions such as models/kmnist")
    require_tensorflow()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("kmnist").setLevel(logging.INFO)
    # It logs a traceback for everything on the port that is not HTTP.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    interrupt_on_sigterm()
    server = Server(models, **settings)
    try:
        server.wait_for_folder()
        with starting_tensorflow():
            pass
        server.start()
        page = _page(server.host, server.rest_url)
        facts = {"model": server.name, "grpc": server.grpc_url, "rest": server.rest_url}
        show_result({**facts, "page": page}, as_json, _print)
        server.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(INTERRUPTED))
        click.echo("stopping after the running requests; Ctrl-C again stops at once", err=True)
    finally:
        is_idle = server.stop()
    if not is_idle:
        click.echo("abandoning what has not finished in time", err=True)
        os._exit(0)  # sys.exit would wait for the threads that run it


def _page(host: str, rest_url: str) -> str:
    """Return the address of the page, as a phone in the same network can type it."""
    if host in _OUTSIDE:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # no network
            probe.connect((_OUTSIDE[host], 9))  # selects a route, and sends nothing
            rest_url = rest_url.replace(host, probe.getsockname()[0], 1)
    return f"{rest_url}/"


def _print(facts: dict[str, str]) -> None:
    for name, fact in facts.items():
        click.echo(f"{name:7}{fact}")
    click.echo("Ctrl-C stops the server")
