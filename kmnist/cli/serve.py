"""``kmnist serve``: the exported versions behind gRPC and REST, until it is told to stop."""

import json
import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from kmnist.cli._base import Command, json_option
from kmnist.errors import InputError

__all__ = ["command"]

_BINARY: Final = "tensorflow_model_server"
_INTERRUPTED: Final = 130
_PORT: Final = click.IntRange(0, 65535)


@click.command(cls=Command)
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    default=Path("models/kmnist"),
    show_default=True,
    help="The folder that holds the versions.",
)
@click.option("--name", help="What requests call the model.  [default: the folder's name]")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--grpc-port", type=_PORT, default=8500, show_default=True, help="0: any that is free."
)
@click.option(
    "--rest-port", type=_PORT, default=8501, show_default=True, help="0: any that is free."
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "embedded", _BINARY]),
    default="auto",
    show_default=True,
    help=f"Who answers: {_BINARY}, the server inside kmnist, or the first of them that is there.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    help="Most requests worked on at a time; more are refused.",
)
@click.option(
    "--max-request-mb",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    help="Largest request, in MiB (embedded).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.001, 3600),
    default=30.0,
    show_default=True,
    help="Seconds after which a REST request is given up.",
)
@json_option
def command(
    base: Path,
    name: str | None,
    host: str,
    grpc_port: int,
    rest_port: int,
    engine: str,
    concurrency: int,
    max_request_mb: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Serve the exported versions over gRPC and REST.

    New versions are picked up while it runs; models.config beside the folder says which versions
    are loaded and what their labels are. Stop it with Ctrl-C or SIGTERM: it finishes what it is
    working on. With --json, one object tells the addresses once they answer.
    """
    if base.is_file():
        raise InputError(f"{base} is a file; expected a folder of versions such as models/kmnist")
    binary = None if engine == "embedded" else shutil.which(_BINARY)
    if engine == _BINARY and binary is None:
        raise InputError(f"{_BINARY} is not on PATH; install it, or use --engine embedded")
    if binary is not None:
        from kmnist.server.tensorflow_serving import command_line

        if not grpc_port or not rest_port or grpc_port == rest_port:
            raise InputError(f"{_BINARY} needs two ports that differ, received 0 or the same twice")
        _say(
            as_json,
            engine=_BINARY,
            model=name or base.absolute().name,
            grpc=f"grpc://localhost:{grpc_port}",
            rest=f"http://localhost:{rest_port}",
            note="it cannot be told where to listen: every address of this machine reaches it",
        )
        _become(
            command_line(
                binary,
                base,
                name=name,
                grpc_port=grpc_port,
                rest_port=rest_port,
                timeout=timeout,
                concurrency=concurrency,
            )
        )
    _serve(
        base,
        as_json,
        name=name,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        concurrency=concurrency,
        max_bytes=max_request_mb * 2**20,
        timeout=timeout,
    )


def _serve(base: Path, as_json: bool, **settings: Any) -> None:
    from kmnist.cli._tensorflow import starting_tensorflow
    from kmnist.server import Server

    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("kmnist").setLevel(logging.INFO)
    # SIGTERM, what a supervisor sends, is to end it just as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    server = Server(base, **settings)
    try:
        server.wait_for_folder()
        with starting_tensorflow():
            pass
        server.start()
        _say(
            as_json,
            engine="embedded",
            model=server.name,
            grpc=server.grpc_url,
            rest=server.rest_url,
            note="Ctrl-C stops it",
        )
        server.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _exit_at_once)
        click.echo("stopping: finishing what is under way; once more ends it at once", err=True)
    finally:
        server.stop()


def _say(as_json: bool, *, note: str, **facts: str) -> None:
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for name, fact in facts.items():
            click.echo(f"{name:7}{fact}")
        click.echo(f"{'note':7}{note}")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _exit_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    # Not sys.exit, which would wait for the very threads that are still busy.
    os._exit(_INTERRUPTED)


def _become(arguments: list[str]) -> NoReturn:
    """Replaces this process with a program, which so gets every signal itself."""
    sys.stderr.flush()
    os.execv(arguments[0], arguments)  # noqa: S606 - a shell would keep the signals
