"""Predict any number of images into rows, and continue a file of them that is not complete."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cache
from glob import escape
from json import dumps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import click

from kmnist.cli._client import ask, open_client
from kmnist.errors import InputError
from kmnist.files import check_folder, locked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmnist.client import Client
    from kmnist.client.stream import Batch

__all__ = ["Images", "open_images", "write_file", "write_stdout"]

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

# Requests are repeated until the timeout of a call: a server may restart in the meantime.
_RETRIES: Final = 1_000_000

_ERASE: Final = "\r\x1b[K"
_TERMINAL_SECONDS: Final = 0.2
_LINE_SECONDS: Final = 10.0


class Images(NamedTuple):
    """Images or pictures as ``predict_stream`` takes them, and a name for each: its index or path."""

    names: Sequence[str] | Sequence[int]
    values: "NDArray[np.uint8] | Sequence[str | bytes]"
    per_request: int

    def quoted_names(self, quote: Callable[[str], str], first: int) -> Iterator[str]:
        """Return the names from the index ``first`` on, quoted if they are paths."""
        names: Iterable[Any] = self.names[first:]
        return map(str if isinstance(self.names, range) else quote, names)


def open_images(arguments: Sequence[str]) -> Images:
    """Open the images that the arguments name.

    Args:
        arguments: One file of images, IDX, ``.npy`` or ``.npz``, or a folder of IDX files; or pictures, folders of pictures, and ``-``
            for standard input, which holds one picture or the paths of pictures, one a line.

    Raises:
        InputError: A folder holds no pictures, or a file of images is damaged.
    """
    from kmnist.client.stream import IMAGES_PER_REQUEST, PICTURES_PER_REQUEST
    from kmnist.data.arrays import read_images

    if len(arguments) == 1 and (array := read_images(Path(arguments[0]))) is not None:
        return Images(range(len(array)), array, IMAGES_PER_REQUEST)
    pictures = [picture for argument in arguments for picture in _find_pictures(argument)]
    names = [picture if isinstance(picture, str) else "-" for picture in pictures]
    return Images(names, pictures, PICTURES_PER_REQUEST)


def _find_pictures(argument: str) -> Sequence[str | bytes]:
    """Return the picture, those in the folder, or those of standard input."""
    if argument == "-":
        content = sys.stdin.buffer.read()
        if b"\0" in content:  # as in every picture, and in no path
            return [content]
        return [path for path in os.fsdecode(content).split("\n") if path]
    if not os.path.isdir(argument):
        return [argument]
    found = [str(path) for path in Path(argument).rglob("*") if path.suffix.lower() in _SUFFIXES]
    if not found:
        raise InputError(f"{argument} has no pictures, files named *{', *'.join(_SUFFIXES)}")
    return sorted(found)


class _Format(NamedTuple):
    """A format of rows, each on a line of its own that starts with the name of the image.

    Attributes:
        head: The first line.
        quote: Quotes a name.
        rows: Formats the rows of a batch from the first of the quoted names.
    """

    head: bytes
    quote: Callable[[str], str]
    rows: "Callable[[Iterable[str], Batch], Iterable[str]]"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # names of files need not be text


def _field(text: str) -> str:
    """Return a field of CSV without line breaks."""
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


# The start of a row of JSON.
_INPUT: Final = '{"input": '

# The names of classes are few.
_class_field: Final = cache(_field)
_class_string: Final = cache(dumps)


def _csv_rows(names: Iterable[str], batch: "Batch") -> Iterable[str]:
    return [
        f"{name},,,,{_field(error)}\n"
        if error
        else f"{name},{class_id},{_class_field(class_name)},{probability:.6f},\n"
        for class_id, class_name, probability, _, error, name in zip(*batch, names, strict=False)
    ]


def _json_rows(names: Iterable[str], batch: "Batch") -> Iterable[str]:
    return [
        f'{_INPUT}{name}, "error": {dumps(error)}}}\n'
        if error
        else f'{_INPUT}{name}, "class_id": {class_id}, '
        f'"class_name": {_class_string(class_name)}, "probability": {probability:.6f}}}\n'
        for class_id, class_name, probability, _, error, name in zip(*batch, names, strict=False)
    ]


_CSV: Final = _Format(b"input,class_id,class_name,probability,error\n", _field, _csv_rows)
_JSON_LINES: Final = _Format(b"", dumps, _json_rows)
_FORMATS: Final = {".csv": _CSV, ".jsonl": _JSON_LINES}


def write_stdout(source: str | Path, images: Images, **client_arguments: Any) -> None:
    """Predict all images and write them to stdout as JSON Lines."""
    with _open_version(source, **client_arguments) as client:
        for _ in _write(sys.stdout.buffer, _JSON_LINES, images, 0, client):
            pass


def write_file(
    source: str | Path,
    arguments: Sequence[str],
    output: Path,
    *,
    resume: bool,
    **client_arguments: Any,
) -> dict[str, Any]:
    """Predict the images of the arguments into a ``.csv`` or ``.jsonl`` file.

    The file is ``FILE.vN.partial`` until it is complete, N being the version that predicts.

    Returns:
        A summary.

    Raises:
        InputError: The file exists, or cannot be created or continued; or as in
            :func:`open_images`.
        KmnistError: Its folder cannot be written to, which is tried first.
        ClientError: A request failed; a note says how to continue.
        OSError: A row cannot be written; a note says how to continue.
    """
    if output.suffix not in _FORMATS or not output.parent.is_dir():
        raise InputError(f"{output} must end in .csv or .jsonl and be in an existing folder")
    if output.exists():
        raise InputError(f"{output} exists: choose another name or remove it")
    check_folder(output.parent, "the output")
    images = open_images(arguments)
    form, total = _FORMATS[output.suffix], len(images.names)
    with _open_version(source, **client_arguments) as client:
        version = client.metadata().version
        partial = _choose_partial(output, version, resume=resume)
        with _open_partial(partial) as file:
            done = first = _cut(file, form, images)
            broken, started = 0, time.monotonic()
            with _progress(first, total) as show:
                for batch in _write(file, form, images, first, client):
                    done += len(batch.errors)
                    broken += len(batch.errors) - batch.errors.count("")
                    show(done)
                os.fsync(file.fileno())
                os.rename(partial, output)
    return {
        "output": str(output),
        "version": version,
        "images": total,
        "resumed_from": first,
        "broken": broken,
        "images_per_second": (done - first) / (time.monotonic() - started),
    }


def _open_version(source: str | Path, **client_arguments: Any) -> "Client":
    """Open a client of the version that answers now, so that all images get the same one."""
    if not isinstance(source, Path):
        version = ask(source, lambda client: client.metadata().version, **client_arguments)
        client_arguments |= {"version": version, "label": None, "retries": _RETRIES}
    return open_client(source, **client_arguments)


def _write(
    file: IO[bytes], form: _Format, images: Images, first: int, client: "Client"
) -> Iterator["Batch"]:
    """Write the rows of the images from ``first`` on; yield the results of each request."""
    from kmnist.client.stream import predict_batches

    head = b"" if first else form.head
    names = images.quoted_names(form.quote, first)
    with closing(predict_batches(images.values[first:], client)) as batches:
        for batch in batches:
            file.write(head + _encode("".join(form.rows(names, batch))))
            file.flush()
            yield batch
            head = b""


def _choose_partial(output: Path, version: int | None, *, resume: bool) -> Path:
    partial = output.with_name(f"{output.name}.v{version}.partial")
    for other in output.parent.glob(f"{escape(output.name)}.v*.partial"):
        if not resume or other != partial:
            raise InputError(
                f"{other} is incomplete: continue it with --resume and the version in its name, or "
                "remove it"
            )
    return partial


@contextmanager
def _open_partial(path: Path) -> Iterator[IO[bytes]]:
    """Open an incomplete file for this process alone; if nothing is written, leave none."""
    try:
        with locked(path, wait=False) as handle, open(handle, "r+b", closefd=False) as file:
            yield file
    except BlockingIOError:
        raise InputError(f"another process is writing {path}") from None
    except (Exception, KeyboardInterrupt) as error:
        if path.exists() and not path.stat().st_size:
            path.unlink()
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("interrupted; continue with --resume") from None
        elif not isinstance(error, InputError):
            error.add_note("continue with --resume")
        raise


def _cut(file: IO[bytes], form: _Format, images: Images) -> int:
    """Cut a file after the rows of its last complete request; return their number.

    In a request of other images, the last digit of a probability could differ.
    """
    size = len(form.head)
    file.seek(size)
    complete = kept = kept_size = 0
    row = b""
    for line in file:
        if line.endswith(b"\n"):
            row, complete, size = line, complete + 1, size + len(line)
            if complete % images.per_request == 0:
                kept, kept_size = complete, size
    name = next(images.quoted_names(form.quote, max(0, complete - 1)), None)
    if complete and not row.removeprefix(_encode(_INPUT)).startswith(_encode(f"{name},")):
        raise InputError(
            f"row {complete} of the incomplete output is of another image: remove the file"
        )
    file.seek(kept_size)
    file.truncate()
    return kept


@contextmanager
def _progress(first: int, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that prints on stderr how many images are done, if it is time to."""
    started = printed = time.monotonic()
    on_terminal = sys.stderr.isatty()

    def show(done: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed < (_TERMINAL_SECONDS if on_terminal else _LINE_SECONDS):
            return
        printed = now
        rate = (done - first) / (now - started)
        left = timedelta(seconds=round((total - done) / rate))
        text = f"{done:,} of {total:,} images, {rate:,.0f} images/s, {left} left"
        click.echo(f"{_ERASE}{text}" if on_terminal else text, nl=not on_terminal, err=True)

    try:
        yield show
    finally:
        if on_terminal:
            click.echo(_ERASE, nl=False, err=True)
