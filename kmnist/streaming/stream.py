"""Predict a stream: several requests under way, the answers in the order of the images."""

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from kmnist.client import Client, InvalidInputError, Predictions
from kmnist.errors import InputError
from kmnist.streaming.sources import Chunk, Source, SourceLike, open_source

__all__ = ["MAX_PICTURE_BYTES", "Batch", "predict_source", "predict_stream"]

# Larger files are refused by every version, so they are not read.
MAX_PICTURE_BYTES: Final = 50_000_000

# Two requests keep two cores busy, in this process and through a server; more hide latency.
_REQUESTS: Final = 4
# A request is sent when its pictures exceed this size, so that memory does not depend on it.
_PICTURE_BYTES: Final = 2_900_000
# A version must not be closed while it computes.
_LAST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The predictions for some images of a stream, in its order.

    Attributes:
        inputs: The paths of the pictures, as in the source; or the indexes of the images.
        predictions: A prediction for each input. That of a broken picture has the class -1, the
            name "" and probabilities NaN.
        errors: Why a picture is broken, by its position in the batch.
        fingerprint: A digest of the source up to the end of this batch.
    """

    inputs: Sequence[str] | range
    predictions: Predictions
    errors: Mapping[int, str]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.inputs)


def predict_stream(source: SourceLike, model: Client | str | os.PathLike[str]) -> Iterator[Batch]:
    """Predict any number of images; memory does not grow with their number.

    Args:
        source: One of:

            * a folder: the PNG, JPEG, BMP and WebP files in it and in its folders, sorted by name;
            * an IDX file of images, raw or ``.gz``, or an ``.npz`` file with one array of images;
            * an array of images, uint8 (n, h, w), which may be memory-mapped;
            * the paths of picture files, from any iterable.
        model: A client, whose timeout and retries say how long a failure may last; or a version
            folder such as ``models/kmnist/3``, which is loaded into this process.

    Yields:
        The predictions, in the order of the source.

    Raises:
        InputError: The source or the version cannot be read, or the images have another shape
            than those of the model. A broken picture is an error in its batch instead.
        MissingError: The file or folder does not exist.
        ClientError: A request failed.

    Example::

        for batch in predict_stream("digits", "models/kmnist/1"):
            for path, prediction in zip(batch.inputs, batch.predictions):
                print(path, prediction.class_name)
    """
    if not isinstance(model, (Client, str, os.PathLike)):
        raise InputError(
            f"received {type(model).__name__} as a model; expected a Client or a version folder"
        )
    with ExitStack() as opened:
        if not isinstance(model, Client):
            model = opened.enter_context(_load(Path(model)))
        images = opened.enter_context(open_source(source))
        yield from predict_source(images, model)


def predict_source(source: Source, client: Client) -> Iterator[Batch]:
    """Predict what is left of an open source; see :func:`predict_stream`."""
    pending: deque[Future[Batch]] = deque()
    executor = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="kmnist-stream")
    try:
        for chunk in source:
            # Twice as many as there are threads, so that none waits for the consumer.
            if len(pending) >= 2 * _REQUESTS:
                yield pending.popleft().result()
            pending.append(executor.submit(_predict, client, source.folder, chunk))
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        # With a limit: a request to a server that is down is repeated until its client is closed.
        wait([each for each in pending if not each.cancelled()], timeout=_LAST_SECONDS)


def _load(folder: Path) -> Client:
    from kmnist.server.local import LocalModel

    if not folder.name.isdecimal():
        raise InputError(f"received {folder}; expected a version folder, such as models/kmnist/1")
    return Client(model=folder.parent.name, transport=LocalModel(folder.parent, int(folder.name)))


def _predict(client: Client, folder: Path | None, chunk: Chunk) -> Batch:
    errors: dict[int, str] = {}
    if chunk.images is not None:
        predictions = client.predict(chunk.images)
    else:
        paths = [os.path.join(folder or "", str(name)) for name in chunk.inputs]
        predictions = _predict_pictures(client, paths, errors)
    return Batch(chunk.inputs, predictions, errors, chunk.fingerprint)


def _predict_pictures(client: Client, paths: Sequence[str], errors: dict[int, str]) -> Predictions:
    """Predict picture files; add the reason why one is broken to ``errors``, by its position."""
    parts: list[tuple[list[int], Predictions]] = []
    contents: dict[int, bytes] = {}
    size = 0
    for position, path in enumerate(paths):
        try:
            contents[position] = _read(path)
        except (OSError, ValueError) as error:
            errors[position] = getattr(error, "strerror", None) or str(error)
            continue
        size += len(contents[position])
        if size >= _PICTURE_BYTES:
            parts += _send(client, contents, errors)
            contents, size = {}, 0
    parts += _send(client, contents, errors)
    if not errors and len(parts) == 1:
        return parts[0][1]
    classes = parts[0][1].probabilities.shape[1] if parts else 1
    class_ids = np.full(len(paths), -1, np.int64)
    names = np.full(len(paths), "", object)
    probabilities = np.full((len(paths), classes), np.nan, np.float32)
    for positions, found in parts:
        class_ids[positions] = found.class_ids
        names[positions] = found.class_names
        probabilities[positions] = found.probabilities
    return Predictions(class_ids, names.astype(np.str_), probabilities)


def _read(path: str) -> bytes:
    """Read a picture file, unless it can be none.

    Raises:
        InputError: It is not a regular file, empty or too large.
        OSError: It cannot be read.
        ValueError: The path contains a zero byte.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise InputError("not a regular file")
    if not 0 < status.st_size <= MAX_PICTURE_BYTES:
        raise InputError(f"has {status.st_size:,} bytes; expected 1 to {MAX_PICTURE_BYTES:,}")
    with open(path, "rb") as file:
        return file.read(MAX_PICTURE_BYTES)


def _send(
    client: Client, contents: Mapping[int, bytes], errors: dict[int, str]
) -> list[tuple[list[int], Predictions]]:
    """Predict pictures by their positions; halve a request that is refused to find the cause."""
    positions = list(contents)
    if not positions:
        return []
    try:
        return [(positions, client.predict_pictures(contents.values()))]
    except InvalidInputError as error:
        if len(positions) == 1:
            errors[positions[0]] = str(error)
            return []
    middle = len(positions) // 2
    return [
        part
        for half in (positions[:middle], positions[middle:])
        for part in _send(client, {position: contents[position] for position in half}, errors)
    ]
