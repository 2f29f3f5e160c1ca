"""Streams of predictions: order, broken pictures, failures, memory."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import predict_stream
from kmnist.client import AsyncClient, Client, InvalidInputError, NotReachableError
from kmnist.client.testing import FakeTransport
from kmnist.errors import InputError
from kmnist.pictures.limits import MAX_BYTES
from kmnist.streaming.stream import MAX_PICTURE_BYTES
from tests.streaming.conftest import answer


def test_images_keep_their_order_when_answers_do_not(images: NDArray[np.uint8]) -> None:
    def slow_first(values: NDArray[Any]) -> Any:
        time.sleep(0.1 if values[0, 0, 0] == 0 else 0)
        return answer(values)

    with Client(transport=FakeTransport(slow_first)) as client:
        batches = list(predict_stream(images, client))
    assert [index for batch in batches for index in batch.inputs] == list(range(2500))
    found = np.concatenate([batch.predictions.class_ids for batch in batches])
    np.testing.assert_array_equal(found, images[:, 0, 0] % 10)


def test_several_requests_are_under_way_and_no_more(images: NDArray[np.uint8]) -> None:
    read: list[int] = []
    running, most = 0, 0
    lock = threading.Lock()

    def count(values: NDArray[Any]) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return answer(values)

    def paths() -> Any:
        for number in range(10_000):
            read.append(number)
            yield "seven.png"

    with Client(transport=FakeTransport(count)) as client:
        for _ in predict_stream(np.concatenate([images] * 4), client):
            pass
        assert 1 < most <= 4
        stream = predict_stream(paths(), client)
        next(stream)
        assert len(read) < 500  # whatever the length of the source
        stream.close()  # type: ignore[attr-defined]


def test_a_broken_picture_is_an_error_beside_the_others(client: Client, folder: Path) -> None:
    (folder / "4.png").write_text("no such")
    (folder / "6.png").write_text("")
    (folder / "8.png").mkdir()
    (folder / "9.png").symlink_to("nowhere")
    (batch,) = predict_stream(folder, client)
    assert batch.inputs == ["3.PNG", "4.png", "5.PNG", "6.png", "7.PNG", "9.png", "more/1.jpg"]
    assert batch.predictions.class_ids.tolist() == [3, -1, 5, -1, 7, -1, 1]
    assert batch.predictions.class_names.tolist() == ["3", "", "5", "", "7", "", "1"]
    assert batch.errors == {
        1: "Picture 0: expected a picture",
        3: "has 0 bytes; expected 1 to 50,000,000",
        5: "No such file or directory",
    }
    assert [row for row, p in enumerate(batch.predictions) if np.isnan(p.probability)] == [1, 3, 5]


def test_paths_of_any_kind_get_a_prediction_or_an_error(client: Client, folder: Path) -> None:
    paths: list[str | Path] = [folder / "7.PNG", "", "a\0b", str(folder), "/dev/zero"]
    (batch,) = predict_stream(paths, client)
    assert batch.predictions.class_ids.tolist() == [7, -1, -1, -1, -1]
    assert list(batch.errors) == [1, 2, 3, 4]
    assert "not a regular file" in batch.errors[4]


def test_pictures_are_sent_before_they_take_much_memory(
    transport: FakeTransport, client: Client, tmp_path: Path
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(b"%d" % number + b" " * 2_000_000)
    (batch,) = predict_stream(tmp_path, client)
    assert batch.predictions.class_ids.tolist() == list(range(6))
    sizes = [sum(map(len, request.inputs["pictures"])) for request in transport.requests]
    assert max(sizes) < 4_100_000


def test_the_largest_picture_is_that_of_the_graph() -> None:
    assert MAX_PICTURE_BYTES == MAX_BYTES


def test_images_of_another_shape_are_refused(client: Client) -> None:
    with pytest.raises(InvalidInputError, match=r"\(2, 32, 32\)"):
        list(predict_stream(np.zeros((2, 32, 32), np.uint8), client))


def test_a_failure_ends_the_stream(images: NDArray[np.uint8]) -> None:
    errors = [NotReachableError("refused", retryable=False)]
    with (
        Client(transport=FakeTransport(answer, errors=errors)) as client,
        pytest.raises(NotReachableError),
    ):
        list(predict_stream(images, client))


def test_a_version_folder_is_loaded(models: Path, tiny: Path) -> None:
    source = tiny / "t10k-images-idx3-ubyte.gz"
    (batch,) = predict_stream(source, models / "1")
    assert len(batch) == 200
    assert not batch.errors
    with pytest.raises(InputError, match="expected a version folder"):
        list(predict_stream(source, models))


def test_an_asyncio_client_is_refused(tiny: Path) -> None:
    model: Any = AsyncClient()
    with pytest.raises(InputError, match="received AsyncClient as a model; expected a Client"):
        list(predict_stream(tiny, model))
