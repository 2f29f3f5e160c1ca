"""Streams of predictions: order, broken pictures, failures, memory."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import predict_stream
from kmnist.client import Client, InvalidInputError, NotReachableError
from kmnist.client.stream import predict_batches
from kmnist.client.testing import FakeTransport


def answer(values: NDArray[Any]) -> Any:
    """Answer an image with the class of its first pixel, a picture with that of its first byte."""
    if values.dtype == object:
        for number, content in enumerate(values):
            if not content[:1].isdigit():
                raise InvalidInputError(f"picture {number} is\nnone")
        return np.eye(10)[[int(content[:1]) for content in values]]
    return np.eye(10)[values[:, 0, 0] % 10]


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport(answer)


@pytest.fixture
def client(transport: FakeTransport) -> Iterator[Client]:
    with Client(transport=transport, retries=0) as client:
        yield client


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """2,500 images; the first pixel counts up."""
    images = np.zeros((2500, 28, 28), np.uint8)
    images[:, 0, 0] = np.arange(2500) % 251
    return images


def test_images_keep_their_order_when_answers_do_not(images: NDArray[np.uint8]) -> None:
    second = threading.Event()

    def answer_second_first(values: NDArray[Any]) -> Any:
        if values[0, 0, 0] == 0:
            assert second.wait(10)
        else:
            second.set()
        return answer(values)

    with Client(transport=FakeTransport(answer_second_first)) as client:
        results = list(predict_stream(images, client))
    assert [result.class_id for result in results] == (images[:, 0, 0] % 10).tolist()
    assert (results[3].class_name, results[3].probability, results[3].error) == ("3", 1.0, "")
    assert results[3].probabilities.argmax() == 3


def test_several_requests_are_under_way() -> None:
    together = threading.Barrier(2)

    def meet(values: NDArray[Any]) -> Any:
        together.wait(10)
        return answer(values)

    with Client(transport=FakeTransport(meet)) as client:
        assert len(list(predict_stream(np.zeros((2000, 28, 28), np.uint8), client))) == 2000


def test_pictures_are_read_no_faster_than_the_results(client: Client) -> None:
    read: list[int] = []

    def pictures() -> Iterator[bytes]:
        for number in range(10_000):
            read.append(number)
            yield b"7"

    stream = predict_stream(pictures(), client)
    assert next(stream).class_name == "7"
    assert len(read) < 500


def test_a_broken_picture_is_a_result_with_the_reason(client: Client, tmp_path: Path) -> None:
    for digit in range(8):
        (tmp_path / f"{digit}.png").write_text("none" if digit in (4, 5) else str(digit))
    paths = [tmp_path / f"{digit}.png" for digit in range(9)]  # there is no 8.png
    results = list(predict_stream(paths, client))
    assert [result.class_id for result in results] == [0, 1, 2, 3, -1, -1, 6, 7, -1]
    assert [result.class_name for result in results[4:7]] == ["", "", "6"]
    assert [bool(np.isnan(result.probability)) for result in results[4:7]] == [True, True, False]
    assert [result.error for result in results[4:7]] == ["picture 0 is none"] * 2 + [""]
    assert "8.png" in results[8].error


def test_one_path_is_a_stream_of_one(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("5")
    assert [result.class_id for result in predict_stream(str(path), client)] == [5]


@pytest.mark.parametrize("images", [[], np.zeros((0, 28, 28), np.uint8)])
def test_no_images_need_no_client(images: Any, client: Client, transport: FakeTransport) -> None:
    assert list(predict_stream(images, client)) == []
    assert not transport.requests


def test_a_batch_has_the_results_of_a_request(client: Client, images: NDArray[np.uint8]) -> None:
    batches = list(predict_batches(images, client))
    assert [len(batch.class_ids) for batch in batches] == [1000, 1000, 500]


def test_images_of_another_shape_are_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match=r"\(2, 32, 32\)"):
        list(predict_stream(np.zeros((2, 32, 32), np.uint8), client))


def test_a_failure_ends_the_stream(images: NDArray[np.uint8]) -> None:
    transport = FakeTransport(answer, errors=[NotReachableError("refused")])
    with Client(transport=transport, retries=0) as client, pytest.raises(NotReachableError):
        list(predict_stream(images, client))
