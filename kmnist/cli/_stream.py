"""``kmnist predict --input … --output …``: predict any number of images into a file."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmnist.cli._client import ask, open_client
from kmnist.cli._output import show_result
from kmnist.cli._progress import PredictionProgress
from kmnist.errors import KmnistError

if TYPE_CHECKING:
    from kmnist.client import Client
    from kmnist.streaming.output import Output

__all__ = ["predict_into_file"]

# Requests are repeated until the timeout of a call: a server may restart in the meantime.
_RETRIES: Final = 1_000_000


def predict_into_file(
    models_or_server: str | Path,
    source: str,
    path: Path,
    *,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Predict all images of ``source`` into the file ``path``.

    Raises:
        KmnistError: The input cannot be read, the output cannot be written, or a request failed.
            A note says how far the output is complete.
    """
    from kmnist.streaming.output import is_complete, open_output
    from kmnist.streaming.sources import open_source
    from kmnist.streaming.stream import predict_source

    if resume and is_complete(path):
        show_result({"output": str(path), "images": 0}, as_json, _print_complete)
        return
    with (
        open_source(_lines_of_stdin() if source == "-" else source) as images,
        open_output(
            path, has_paths=images.folder is not None, resume=resume, overwrite=overwrite
        ) as output,
        _open_version(models_or_server, **client_arguments) as (client, version),
    ):
        output.start(images, version)
        first = output.progress.rows
        started = time.perf_counter()
        with (
            _saying_how_to_go_on(output),
            PredictionProgress(images.total, first, quiet=as_json) as progress,
        ):
            for batch in predict_source(images, client):
                output.write(batch)
                progress.update(output.progress.rows)
            output.complete()
        seconds = time.perf_counter() - started
        result = {
            "output": str(path),
            "version": version,
            "images": output.progress.rows,
            "broken": output.progress.broken,
            "resumed_from": first,
            "seconds": seconds,
            "images_per_second": (output.progress.rows - first) / seconds,
        }
    show_result(result, as_json, _print)


@contextmanager
def _open_version(
    models_or_server: str | Path, **client_arguments: Any
) -> Iterator[tuple["Client", int | None]]:
    """Open a client of one version, so that all images are predicted by the same."""
    if isinstance(models_or_server, Path):
        with open_client(models_or_server, **client_arguments) as client:
            yield client, client.metadata().version
        return
    name, version = ask(
        models_or_server,
        lambda client: (client.model, client.metadata().version),
        **client_arguments,
    )
    pinned = client_arguments | {"name": name, "version": version, "retries": _RETRIES}
    if version is not None:
        pinned["label"] = None
    with open_client(models_or_server, **pinned) as client:
        yield client, version


@contextmanager
def _saying_how_to_go_on(output: "Output") -> Iterator[None]:
    def advice() -> str:
        return f"{output.progress.rows:,} images are written; continue with --resume"

    try:
        yield
    except KmnistError as error:
        if output.progress.rows:
            error.add_note(advice())
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {advice()}" if output.progress.rows else "interrupted"
        ) from None


def _lines_of_stdin() -> Iterator[str]:
    return (os.fsdecode(line.removesuffix(b"\n")) for line in sys.stdin.buffer)


def _print(result: dict[str, Any]) -> None:
    broken = f", {result['broken']:,} of them broken" if result["broken"] else ""
    click.echo(
        f"wrote {result['output']}: {result['images']:,} image{'s' * (result['images'] != 1)}{broken}; "
        f"{result['images_per_second']:,.0f} images/s"
    )


def _print_complete(result: dict[str, Any]) -> None:
    click.echo(f"{result['output']} is complete already")
