"""``kmnist serve``: serve the exported versions over gRPC and REST."""

import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from kmnist.cli._base import INTERRUPTED, Command, interrupt_on_sigterm
from kmnist.cli._options import (
    is_given,
    json_option,
    models_option,
    name_option,
    port_options,
    timeout_option,
)
from kmnist.cli._output import show_result
from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import InputError

__all__ = ["command"]

_BINARY: Final = "tensorflow_model_server"
# Options of the embedded server that the binary has no flag for.
_EMBEDDED: Final = ("max_request_mb", "accept_gzip", "allow_origins", "allow_hosts")


@click.command("serve", cls=Command)
@models_option()
@name_option
@click.option("--host", default="127.0.0.1", help="The address to listen on (embedded).")
@port_options("picks a free one (embedded)")
@click.option(
    "--engine",
    type=click.Choice(["auto", "embedded", _BINARY]),
    default="auto",
    help=f"The server to run: {_BINARY}, the one embedded in kmnist, or, with auto, the first if "
    "it is on PATH and the second otherwise.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1024),
    default=64,
    help="The number of requests that are processed at a time; more are refused.",
)
@click.option(
    "--max-request-mb",
    type=click.IntRange(1, 1024),
    default=64,
    help="The size of the largest request, in MiB (embedded).",
)
@click.option(
    "--accept-gzip", is_flag=True, help="Accept REST requests compressed with gzip (embedded)."
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let the web pages of another origin, such as https://example.org, use the REST API "
    "(embedded); may be repeated.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A further host name under which REST requests arrive (embedded); may be repeated.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Refuse a version whose files differ from the checksums in its SHA256SUMS, if it has any.",
)
@timeout_option("The time that a REST request may take, in seconds.")
@json_option
def command(
    models: Path,
    name: str | None,
    host: str,
    grpc_port: int,
    rest_port: int,
    engine: str,
    concurrency: int,
    max_request_mb: int,
    accept_gzip: bool,
    allow_origins: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    verify: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Serve the exported versions over gRPC and REST.

    New versions are loaded while the server runs; models.config beside the folder selects the
    versions to load and holds their labels. Ctrl-C or SIGTERM stops the server after the requests
    that it is processing. With --json, one object with the addresses is printed when they answer.
    """
    if models.is_file():
        raise InputError(f"{models} is a file; expected a folder of versions such as models/kmnist")
    binary = None if engine == "embedded" else shutil.which(_BINARY)
    if engine == _BINARY and binary is None:
        raise InputError(f"{_BINARY} is not on PATH; install it, or use --engine embedded")
    if binary is not None:
        from kmnist.server.tensorflow_serving import command_line

        _refuse_embedded_options(host)
        if not grpc_port or not rest_port or grpc_port == rest_port:
            raise InputError(
                f"received --grpc-port {grpc_port} and --rest-port {rest_port}; {_BINARY} needs "
                "two different ports, neither of them 0"
            )
        if verify:
            _verify(models)
        _show(
            as_json,
            engine=_BINARY,
            model=name or models.absolute().name,
            grpc=f"grpc://localhost:{grpc_port}",
            rest=f"http://localhost:{rest_port}",
            note="it listens on every address of this machine, and has no drawing page; "
            "--engine embedded listens on 127.0.0.1 and has one",
        )
        arguments = command_line(
            binary,
            models,
            name=name,
            grpc_port=grpc_port,
            rest_port=rest_port,
            timeout=timeout,
            concurrency=concurrency,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        # The binary replaces this process, and so receives every signal itself.
        os.execv(binary, arguments)  # noqa: S606 - a shell would keep the signals
    _serve(
        models,
        as_json,
        name=name,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        concurrency=concurrency,
        max_bytes=max_request_mb * 2**20,
        accept_gzip=accept_gzip,
        allow_origins=allow_origins,
        allow_hosts=allow_hosts,
        timeout=timeout,
        verify=verify,
    )


def _refuse_embedded_options(host: str) -> None:
    """Refuse the options on the command line that the binary could not honour.

    Raises:
        InputError: There is one.
    """
    given = [f"--{name.rstrip('s').replace('_', '-')}" for name in _EMBEDDED if is_given(name)]
    if is_given("host") and host not in ("0.0.0.0", "::"):  # noqa: S104 - the binary's address
        given.append(f"--host {host}")
    if given:
        raise InputError(
            f"received {', '.join(given)}; {_BINARY} has no such setting and listens on every "
            "address of this machine; use --engine embedded, or leave it out"
        )


def _verify(models: Path) -> None:
    """Verify the versions once: TensorFlow Serving itself would load one that differs."""
    from kmnist.versions import list_versions, verify_version, version_folder

    for version in list_versions(models):
        verify_version(version_folder(models, version))


def _serve(models: Path, as_json: bool, **settings: Any) -> None:
    """Run the embedded server until it is interrupted."""
    from kmnist.server import Server
    from kmnist.server.log_limit import LogLimit

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogLimit())
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=[handler])
    logging.getLogger("kmnist").setLevel(logging.INFO)
    interrupt_on_sigterm()
    server = Server(models, **settings)
    try:
        server.wait_for_folder()
        with starting_tensorflow():
            pass
        server.start()
        _show(
            as_json,
            engine="embedded",
            model=server.name,
            grpc=server.grpc_url,
            rest=server.rest_url,
            page=f"{server.rest_url}/",
            note="Ctrl-C stops it",
        )
        server.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _exit_at_once)
        click.echo("stopping after the running requests; Ctrl-C again stops at once", err=True)
    finally:
        has_ended = server.stop()
    if not has_ended:
        click.echo("what has not finished in time is abandoned", err=True)
        sys.stdout.flush()
        # sys.exit would wait for the threads that run it.
        os._exit(0)


def _show(as_json: bool, *, note: str, **facts: str) -> None:
    show_result(facts, as_json, lambda facts: _print({**facts, "note": note}))


def _print(facts: dict[str, str]) -> None:
    for name, fact in facts.items():
        click.echo(f"{name:7}{fact}")


def _exit_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    # sys.exit would wait for the threads of the running requests.
    os._exit(INTERRUPTED)
