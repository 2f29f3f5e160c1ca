"""Write a stream to CSV, JSON Lines or Parquet, so that a run that was killed can be resumed.

The lines of ``FILE`` are written to ``FILE.partial``, which becomes ``FILE`` by one rename when it is
complete. Every second ``FILE.journal`` records how far both the input and that file are complete. A
resumed run cuts ``FILE.partial`` to this length, so no line is lost or written twice. A Parquet
file cannot be continued: its rows are first written as a stream in Arrow's format, which is
converted at the end.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import InputError, KmnistError
from kmnist.files import locked, replacing
from kmnist.streaming.sources import Source
from kmnist.streaming.stream import Batch

__all__ = ["Output", "Progress", "is_complete", "open_output"]

_JOURNAL_SECONDS: Final = 1.0
_ROW_GROUP: Final = 100_000


@dataclass(frozen=True)
class Progress:
    """How far an output is complete.

    Attributes:
        rows: The images that are written.
        broken: Those of them that are broken pictures.
        size: The bytes of the partial file.
        fingerprint: That of the last batch.
        version: The version that predicts.
    """

    rows: int = 0
    broken: int = 0
    size: int = 0
    fingerprint: str = ""
    version: int | None = None


class Output:
    """A file that is being written.

    Attributes:
        progress: What is written so far.
    """

    def __init__(self, path: Path, handle: int, progress: Progress, file_format: Any) -> None:
        self.progress = progress
        self._path = path
        self._handle = handle
        self._format = file_format
        self._recorded = time.monotonic()
        os.ftruncate(handle, progress.size)
        os.lseek(handle, progress.size, os.SEEK_SET)

    def start(self, source: Source, version: int | None) -> None:
        """Skip the images that are written.

        Args:
            source: The input, at its beginning.
            version: The version that predicts, if it is known.

        Raises:
            InputError: The written ones are from another input or of another version.
        """
        done = self.progress
        fingerprint = source.skip(done.rows)
        if done.rows and fingerprint != done.fingerprint:
            raise InputError(
                f"the first {done.rows:,} images of {self._path} are from another input, or it was "
                "changed since; start again and overwrite the output"
            )
        if done.rows and version != done.version:
            raise InputError(
                f"the first {done.rows:,} images of {self._path} were predicted by version "
                f"{done.version}, but version {version} answers; select version {done.version}"
            )
        if not done.size:
            self._write(self._format.head)
        self.progress = replace(done, size=done.size or len(self._format.head), version=version)

    def write(self, batch: Batch) -> None:
        """Write the lines of a batch.

        Raises:
            KmnistError: They cannot be written.
        """
        before = self.progress
        data = self._format.lines(batch)
        self._write(data)
        self.progress = replace(
            before,
            rows=before.rows + len(batch),
            broken=before.broken + len(batch.errors),
            size=before.size + len(data),
            fingerprint=batch.fingerprint,
        )
        if time.monotonic() - self._recorded >= _JOURNAL_SECONDS:
            self.record()

    def record(self) -> None:
        """Record the progress for a run that resumes.

        Raises:
            KmnistError: It cannot be written.
        """
        with _writing(self._path):
            os.fsync(self._handle)  # the journal must not be ahead of the file after a power cut
            with replacing(_journal(self._path)) as file:
                file.write(json.dumps(asdict(self.progress)).encode())
        self._recorded = time.monotonic()

    def complete(self) -> None:
        """Put the file in its place.

        Raises:
            KmnistError: It cannot be written.
        """
        self.record()
        with _writing(self._path):
            self._format.publish(_partial(self._path), self._path)
        _journal(self._path).unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with _writing(self._path):
            while rest:
                rest = rest[os.write(self._handle, rest) :]


@contextmanager
def open_output(
    path: Path, *, has_paths: bool, resume: bool = False, overwrite: bool = False
) -> Iterator[Output]:
    """Open an output, after checking that it can be written.

    An error within the block leaves the file as far as it is written, unless it is empty.

    Args:
        path: The file: ``.csv``, ``.jsonl`` or ``.parquet``.
        has_paths: Whether the inputs are paths, rather than indexes.
        resume: Continue the file of a run that did not end, if there is one.
        overwrite: Replace an existing file, and discard that of a run that did not end.

    Raises:
        InputError: The file or its folder cannot be used, or another process writes it.
        OSError: It cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.suffix not in _FORMATS:
        raise InputError(f"received the output {path}; expected a name in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for the output; create it first")
    partial, journal = _partial(path), _journal(path)
    if path.exists() and not overwrite and not (resume and partial.exists()):
        raise InputError(f"{path} exists; expected a new file; name another or overwrite it")
    if partial.exists() and not (overwrite or resume):
        raise InputError(f"{partial} is left of a run that did not end; resume or overwrite it")
    file_format = _FORMATS[path.suffix](has_paths)
    try:
        with locked(partial, wait=False) as handle:
            output = None
            try:
                if not resume:
                    journal.unlink(missing_ok=True)
                progress = _read_journal(journal, handle) if resume else Progress()
                output = Output(path, handle, progress, file_format)
                yield output
            except BaseException:
                if output is not None and output.progress.rows:
                    with suppress(KmnistError):
                        output.record()
                elif output is not None or not os.fstat(handle).st_size:
                    partial.unlink(missing_ok=True)
                raise
    except BlockingIOError:
        raise InputError(f"another process is writing {partial}; wait until it ends") from None


def is_complete(path: Path) -> bool:
    """Return whether an output exists and no run that did not end is to replace it."""
    return path.exists() and not _partial(Path(os.path.realpath(path))).exists()


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def _read_journal(journal: Path, handle: int) -> Progress:
    try:
        progress = Progress(**json.loads(journal.read_bytes()))
    except FileNotFoundError:
        return Progress()  # killed before the first record
    except (ValueError, TypeError):
        raise InputError(f"{journal} is damaged; start again and overwrite the output") from None
    if os.fstat(handle).st_size < progress.size:
        raise InputError(f"the file beside {journal} is shorter than it records; overwrite it")
    return progress


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KmnistError(f"cannot write {path}: {error.strerror or error}") from None


class _Lines(NamedTuple):
    """A line of text for each image, in a format of these parts.

    Attributes:
        head: The first line.
        start: The line up to the input.
        middle: From there to the probability, with the class ID and name.
        end: The rest of the line.
        broken: The line of a broken picture, with the input and the error.
        quote: Quotes a text.
    """

    head: bytes
    start: str
    middle: str
    end: str
    broken: str
    quote: Callable[[str], str]

    def lines(self, batch: Batch) -> bytes:
        # Columns of bytes, padded with zeros: a Python string for each line takes twice the time.
        ids, names = batch.predictions.class_ids, batch.predictions.class_names
        found, first, rows = np.unique(ids, return_index=True, return_inverse=True)
        middles = [
            self.middle % (class_id, self.quote(name))
            for class_id, name in zip(found.tolist(), names[first].tolist(), strict=True)
        ]
        chosen = np.clip(np.nan_to_num(_chosen(batch)), 0, 1).astype(np.float64)
        high, low = np.divmod(np.rint(chosen * 1e6).astype(np.int64), 1000)
        columns = [
            *self._inputs(batch),
            _encode(middles)[rows],
            _UNITS[high],
            _DIGITS[low],
            _encode([self.end]),
        ]
        lines = np.empty(len(batch), [(f"{i}", each.dtype) for i, each in enumerate(columns)])
        for i, column in enumerate(columns):
            lines[f"{i}"] = column
            if i and batch.errors:
                lines[f"{i}"][list(batch.errors)] = b""
        return lines.tobytes().translate(None, b"\0")

    def _inputs(self, batch: Batch) -> list[NDArray[np.bytes_]]:
        """Return the lines up to the inputs, and those of broken pictures to their ends."""
        if isinstance(batch.inputs, range):
            indexes = np.arange(batch.inputs.start, batch.inputs.stop)
            return [_encode([self.start]), *_write_integers(indexes)]
        lines = [self.start + self.quote(str(path)) for path in batch.inputs]
        for position, error in batch.errors.items():
            path = self.quote(str(batch.inputs[position]))
            lines[position] = self.broken % (path, self.quote(error))
        return [_encode(lines)]

    def publish(self, partial: Path, path: Path) -> None:
        os.rename(partial, path)


def _quote_csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _encode(texts: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode("utf-8", "surrogateescape") for text in texts])


_UNITS: Final = _encode(f"{number / 1000:.3f}" for number in range(1001)).astype("S8")
# Three digits, and after them the same numbers without leading zeros.
_DIGITS: Final = _encode(f"{n:03}" if n < 1000 else f"{n - 1000}" for n in range(2000)).astype("S4")


def _write_integers(numbers: NDArray[np.int64]) -> list[NDArray[np.bytes_]]:
    """Return numbers from 0 as columns of at most three digits each."""
    columns: list[NDArray[np.bytes_]] = []
    while numbers.any() or not columns:
        rest = numbers // 1000
        digits = _DIGITS[numbers - rest * 1000 + 1000 * (rest == 0)]
        columns.insert(0, np.where(numbers > 0, digits, b"") if columns else digits)
        numbers = rest
    return columns


_CSV: Final = _Lines(
    b"input,class_id,class_name,probability,error\n",
    "",
    ",%d,%s,",
    ",\n",
    "%s,,,,%s\n",
    _quote_csv,
)
_JSONL: Final = _Lines(
    b"",
    '{"input": ',
    ', "class_id": %d, "class_name": %s, "probability": ',
    "}\n",
    '{"input": %s, "error": %s}\n',
    json.dumps,
)


class _Parquet:
    """A row for each image; the columns of a broken picture are null."""

    def __init__(self, has_paths: bool) -> None:
        try:
            import pyarrow as pa
        except ModuleNotFoundError:
            raise InputError(
                "a .parquet file needs pyarrow; install it with pip install pyarrow, or write .csv"
            ) from None
        self._pa: Any = pa
        self._schema = pa.schema(
            {
                "input": pa.string() if has_paths else pa.int64(),
                "class_id": pa.int64(),
                "class_name": pa.string(),
                "probability": pa.float32(),
                "error": pa.string(),
            }
        )
        self.head: bytes = self._schema.serialize().to_pybytes()

    def lines(self, batch: Batch) -> bytes:
        predictions, inputs = batch.predictions, batch.inputs
        if not isinstance(inputs, range):
            # Parquet has text only; the bytes of a name that is none are replaced.
            inputs = [os.fsencode(path).decode("utf-8", "replace") for path in inputs]
        broken = predictions.class_ids < 0
        columns = (
            np.arange(inputs.start, inputs.stop) if isinstance(inputs, range) else inputs,
            predictions.class_ids,
            predictions.class_names.astype(object),
            _chosen(batch),
            [batch.errors.get(position) for position in range(len(batch))],
        )
        masks = (None, broken, broken, broken, None)
        arrays = [
            self._pa.array(column, field.type, mask=mask)
            for column, field, mask in zip(columns, self._schema, masks, strict=True)
        ]
        data: bytes = self._pa.record_batch(arrays, self._schema).serialize().to_pybytes()
        return data

    def publish(self, partial: Path, path: Path) -> None:
        from pyarrow import parquet

        with (
            replacing(path) as file,
            self._pa.OSFile(str(partial)) as rows,
            parquet.ParquetWriter(file, self._schema) as writer,
        ):
            group, count = [], 0
            for batch in self._pa.ipc.open_stream(rows):
                group.append(batch)
                count += len(batch)
                if count >= _ROW_GROUP:
                    writer.write_table(self._pa.Table.from_batches(group))
                    group, count = [], 0
            if group:
                writer.write_table(self._pa.Table.from_batches(group))
        partial.unlink()


def _chosen(batch: Batch) -> Any:
    """Return the probability of the predicted class of each image."""
    probabilities, ids = batch.predictions.probabilities, batch.predictions.class_ids
    return probabilities[np.arange(len(ids)), ids]


_FORMATS: Final[Mapping[str, Callable[[bool], Any]]] = {
    ".csv": lambda _: _CSV,
    ".jsonl": lambda _: _JSONL,
    ".parquet": _Parquet,
}
