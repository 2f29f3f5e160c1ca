"""``kmnist serve``: the exported versions behind gRPC and REST, until it is told to stop."""

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
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
        flags = [
            *_flags(base.absolute(), name),
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            f"--rest_api_timeout_in_ms={round(timeout * 1000)}",
            f"--rest_api_num_threads={concurrency}",
            f"--grpc_max_threads={concurrency}",
        ]
        _become(binary, flags)
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


def _become(binary: str, flags: list[str]) -> NoReturn:
    """Turns this process into ``binary``, which so gets every signal itself."""
    sys.stderr.flush()
    os.execv(binary, [binary, *flags])  # noqa: S606 - a shell would keep the signals


def _flags(base: Path, name: str | None) -> list[str]:
    """Where the model is, for TensorFlow Serving on this machine.

    ``models.config`` names the folder as a container sees it, so the binary gets a copy in which
    it is right here.
    """
    from google.protobuf import text_format

    from kmnist.errors import MissingError
    from kmnist.protocol.models_config_pb2 import ModelServerConfig
    from kmnist.versions import config_path, read_model_config

    config = ModelServerConfig()
    entry = config.model_config_list.config.add(
        name=name or base.name, base_path=str(base), model_platform="tensorflow"
    )
    try:
        known = read_model_config(config_path(base), base.name)
    except MissingError:
        entry.model_version_policy.latest.num_versions = 1
    else:
        entry.version_labels.update(known.labels)
        if known.policy.specific is not None:
            entry.model_version_policy.specific.versions.extend(known.policy.specific)
        elif known.policy.latest is not None:
            entry.model_version_policy.latest.num_versions = known.policy.latest
        else:
            entry.model_version_policy.all.SetInParent()
    folder = Path(tempfile.mkdtemp(prefix="kmnist-serve-"))
    models = folder / "models.config"
    models.write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
    monitoring = folder / "monitoring.config"
    monitoring.write_text(
        'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n',
        encoding="utf-8",
    )
    return [
        f"--model_config_file={models}",
        f"--monitoring_config_file={monitoring}",
        # A label is checked before its version is loaded, and would stop the start.
        "--allow_version_labels_for_unavailable_models=true",
        "--max_num_load_retries=0",
    ]
