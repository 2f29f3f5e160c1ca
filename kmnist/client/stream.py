"""Predict any number of images: several requests at a time, the results in order."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import chain, islice
from os import PathLike
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.client import InvalidInputError, Predictions

__all__ = [
    "IMAGES_PER_REQUEST",
    "PICTURES_PER_REQUEST",
    "Batch",
    "Predictor",
    "Result",
    "predict_batches",
    "predict_stream",
]

IMAGES_PER_REQUEST: Final = 1000
# Few, because the pictures of a request are in memory and may be photographs.
PICTURES_PER_REQUEST: Final = 16

# Two keep two cores busy, in this process and through a server; more hide latency.
_REQUESTS: Final = 4

# A model in this process must not be closed while it computes. A request to a server that is down
# would be repeated for much longer, until its client is closed.
_LAST_SECONDS: Final = 5.0

Picture: TypeAlias = str | bytes | PathLike[str]


class Predictor(Protocol):
    """What classifies images and pictures, such as a :class:`kmnist.Client`."""

    def predict(self, images: NDArray[np.uint8], /) -> Predictions:
        """Classify images, uint8 (n, h, w)."""

    def predict_pictures(self, pictures: Sequence[Picture], /) -> Predictions:
        """Classify picture files; raise InvalidInputError if one of them is broken."""


class Result(NamedTuple):
    """The prediction for one image, or the reason why it is broken.

    Attributes:
        class_id: The most probable class; -1 for a broken picture.
        class_name: The name of that class; "" for a broken picture.
        probability: The probability of that class; NaN for a broken picture.
        probabilities: The probability of every class, float32 (classes,); empty for a broken picture.
        error: Why the picture is broken, on one line; "" for all others.
    """

    class_id: int
    class_name: str
    probability: float
    probabilities: NDArray[np.float32]
    error: str


class Batch(NamedTuple):
    """The results of one request: a list of each attribute of :class:`Result`."""

    class_ids: list[int]
    class_names: list[str]
    probability: list[float]
    probabilities: list[NDArray[np.float32]]
    errors: list[str]


def predict_stream(
    images: NDArray[np.uint8] | Picture | Iterable[Picture], client: Predictor
) -> Iterator[Result]:
    """Predict any number of images; memory does not grow with their number.

    Args:
        images: An array, uint8 (n, h, w), which may be memory-mapped; or pictures from any
            iterable, the path or the contents of a file each.
        client: A client, whose timeout and retries limit how long a failure may last.

    Yields:
        A result for each image, in order. A broken picture does not end the stream.

    Raises:
        InvalidInputError: The array has another dtype or shape than the images of the model.
        ClientError: A request failed.

    Example::

        for path, result in zip(paths, predict_stream(paths, client)):
            print(path, result.class_name, result.error)
    """
    with closing(predict_batches(images, client)) as batches:
        for batch in batches:
            yield from map(Result, *batch)


def predict_batches(
    images: NDArray[np.uint8] | Picture | Iterable[Picture], client: Predictor
) -> Generator[Batch]:
    """Predict any number of images as :func:`predict_stream`, in half the time a result.

    Yields:
        The results of each request: of 1,000 images of an array, of 16 pictures, or of the rest.
    """
    pending: deque[Future[Batch]] = deque()
    executor = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="kmnist-stream")
    try:
        for request in _requests(images):
            # Twice as many as there are threads, so that none waits for the consumer.
            if len(pending) >= 2 * _REQUESTS:
                yield pending.popleft().result()
            predict = _predict if isinstance(request, np.ndarray) else _predict_pictures
            pending.append(executor.submit(predict, client, request))
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        wait([each for each in pending if not each.cancelled()], timeout=_LAST_SECONDS)


def _requests(images: NDArray[np.uint8] | Picture | Iterable[Picture]) -> Iterator[Any]:
    if isinstance(images, np.ndarray):
        for start in range(0, len(images), IMAGES_PER_REQUEST):
            yield images[start : start + IMAGES_PER_REQUEST]
        return
    pictures = iter([images] if isinstance(images, (str, bytes, PathLike)) else images)
    while request := list(islice(pictures, PICTURES_PER_REQUEST)):
        yield request


def _predict(client: Predictor, images: NDArray[np.uint8]) -> Batch:
    return _as_batch(client.predict(images))


def _predict_pictures(client: Predictor, pictures: Sequence[Picture]) -> Batch:
    """Predict pictures; halve a request that is refused to find the broken ones."""
    try:
        return _as_batch(client.predict_pictures(pictures))
    except InvalidInputError as error:
        if len(pictures) == 1:
            return Batch([-1], [""], [np.nan], [np.empty(0, np.float32)], [one_line(error)])
    middle = len(pictures) // 2
    halves = [_predict_pictures(client, half) for half in (pictures[:middle], pictures[middle:])]
    return Batch(*(list(chain(*lists)) for lists in zip(*halves, strict=True)))


def _as_batch(predictions: Predictions) -> Batch:
    ids, probabilities = predictions.class_ids, predictions.probabilities
    return Batch(
        ids.tolist(),
        predictions.class_names.tolist(),
        probabilities[np.arange(len(ids)), ids].tolist(),
        list(probabilities),
        [""] * len(ids),
    )
