"""The client over both transports, blocking and asyncio, with a server in this process."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import errors
from kmnist.client import Client, Predictions
from tests.client.conftest import Make
from tests.client.standin import Arrays, StandIn

Images = NDArray[np.uint8]


def expected(server: StandIn, images: Images) -> Arrays:
    return server.model.outputs("serving_default", images)


def assert_same(predictions: Predictions, outputs: Arrays) -> None:
    np.testing.assert_array_equal(predictions.class_ids, outputs["class_ids"])
    np.testing.assert_array_equal(predictions.probabilities, outputs["probabilities"])
    assert predictions.class_names.tolist() == [n.decode() for n in outputs["class_names"]]
    assert predictions.probabilities.dtype == np.float32
    assert predictions.class_ids.dtype == np.int64


def test_images_are_predicted(client: Client, server: StandIn, images: Images) -> None:
    assert_same(client.predict(images), expected(server, images))
    assert_same(client.predict(images[0]), expected(server, images[:1]))
    assert_same(client.predict(images[:2].tolist()), expected(server, images[:2]))
    assert_same(client.predict(images[:2].astype(np.int32)), expected(server, images[:2]))


def test_pictures_are_predicted(client: Client, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"7" * 70)
    pictures: list[Path | bytes] = [tmp_path / "seven.png", b"\x00\xff" * 9]
    contents = np.array([b"7" * 70, b"\x00\xff" * 9], dtype=object)
    assert_same(client.predict_pictures(pictures), server.model.outputs("pictures", contents))
    assert len(client.predict_pictures(str(tmp_path / "seven.png"))) == 1


def test_no_image_is_not_sent(client: Client, server: StandIn) -> None:
    assert client.predict([]).probabilities.shape == (0, 10)
    assert client.predict_pictures([]).probabilities.shape == (0, 10)
    assert server.requests == []


def test_rest_sends_raw_bytes_if_the_model_accepts_them(
    client: Client, server: StandIn, scheme: str, images: Images
) -> None:
    client.predict(images)
    assert server.requests[0].signature == ("serving_default" if scheme == "grpc" else "pixels")
    del server.model.inputs["pixels"]
    client.metadata()
    assert_same(client.predict(images), expected(server, images))
    assert server.requests[1].signature == "serving_default"


@pytest.mark.parametrize(
    ("failure", "sizes"),
    [
        (None, [200, 150, 50]),
        (("RESOURCE_EXHAUSTED", "larger than max (9 vs. 4)"), [200, 100, 100]),
    ],
    ids=["images", "bytes"],
)
def test_a_limit_of_the_server_is_respected_and_remembered(
    client: Client,
    server: StandIn,
    images: Images,
    failure: tuple[str, str] | None,
    sizes: list[int],
) -> None:
    client.metadata()
    server.max_batch_size, server.fail = (10_000, [failure]) if failure else (150, [])
    for _ in range(2):
        assert_same(client.predict(images), expected(server, images))
    assert [request.size for request in server.requests] == [*sizes, *sizes[1:]]


def test_what_the_model_does_not_accept_is_an_error_before_it_is_sent(
    client: Client, server: StandIn
) -> None:
    message = r"model 'kmnist' expects uint8 \(n, 28, 28\), not uint8 \(1, 27, 28\)"
    with pytest.raises(errors.InvalidInputError, match=message) as info:
        client.predict(np.zeros((27, 28), np.uint8))
    assert (info.value.model, info.value.exit_code) == ("kmnist", 2)
    del server.model.inputs["pictures"]
    client.metadata()
    with pytest.raises(errors.SignatureNotFoundError, match=r"it has pixels\(pixels\), serving_de"):
        client.predict_pictures(b"x")
    assert server.requests == []


def test_status_is_newest_first(client: Client, server: StandIn) -> None:
    server.states, server.messages = {1: "END", 3: "AVAILABLE", 2: "LOADING"}, {1: "bad weights"}
    found = client.status()
    assert [(each.version, each.state, each.error_message) for each in found] == [
        (3, "AVAILABLE", ""),
        (2, "LOADING", ""),
        (1, "END", "bad weights"),
    ]


def test_metadata_contains_the_callable_signatures(client: Client) -> None:
    metadata = client.metadata()
    assert metadata.version == 1
    assert set(metadata.signatures) == {"serving_default", "pixels", "pictures"}
    assert str(metadata.signatures["serving_default"].inputs["images"]) == "uint8 (n, 28, 28)"
    assert str(metadata.signatures["pixels"].inputs["pixels"]) == "string (n,)"


def test_a_version_or_a_label_can_be_requested(
    make: Make, url: str, server: StandIn, images: Images
) -> None:
    server.states = {1: "AVAILABLE", 2: "AVAILABLE"}
    assert make(url).metadata().version == 2
    assert make(url, version=1).metadata().version == 1
    labelled = make(url, label="stable")
    assert (labelled.metadata().version, len(labelled.predict(images[:3]))) == (1, 3)
    assert labelled.is_ready()
    assert [each.version for each in make(url, version=1).status()] == [1]
    assert len(labelled.status()) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "nope"}, errors.ModelNotFoundError),
        ({"version": 9}, errors.VersionNotFoundError),
        ({"label": "canary"}, errors.LabelNotFoundError),
    ],
)
def test_an_unknown_model_version_or_label_is_an_error_of_its_own(
    make: Make,
    url: str,
    images: Images,
    options: dict[str, Any],
    error: type[errors.ClientError],
) -> None:
    client = make(url, **options)
    for call in (lambda: client.predict(images), client.metadata, client.wait_until_ready):
        with pytest.raises(error) as info:
            call()
        found = info.value
        assert found.detail
        assert not found.retryable
        assert (found.address, found.model) == (url, options.get("model", "kmnist"))
        assert (found.version, found.label) == (options.get("version"), options.get("label"))
    assert not client.is_ready()


@pytest.mark.parametrize("state", ["LOADING", "END"])
def test_a_version_that_is_not_ready_is_an_error_with_its_state(
    client: Client, server: StandIn, images: Images, state: str
) -> None:
    server.states, server.messages = {4: state}, {4: "out of memory"}
    message = f"version 4 of model 'kmnist' is {state}: out of memory"
    with pytest.raises(errors.NotReadyError, match=message) as info:
        client.predict(images)
    assert (info.value.state, info.value.retryable) == (state, state == "LOADING")
    with pytest.raises(errors.NotReadyError, match=message):
        client.wait_until_ready(0.2)
    assert not client.is_ready()


def test_waiting_ends_when_the_version_is_available(make: Make, url: str, server: StandIn) -> None:
    server.states = {}
    client = make(url, retries=0)
    with pytest.raises(errors.NotReadyError, match="no version of model 'kmnist' yet"):
        client.metadata()
    threading.Timer(0.3, server.states.update, [{1: "AVAILABLE"}]).start()
    client.wait_until_ready(10)
    assert client.is_ready()


def test_overload_is_retried_and_other_failures_are_not(
    make: Make, url: str, server: StandIn, images: Images
) -> None:
    client = make(url, timeout=10)
    client.metadata()
    server.fail = [
        ("UNAVAILABLE", "queue is full"),
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted"),
        ("CANCELLED", "the server stops"),
    ]
    assert_same(client.predict(images), expected(server, images))
    assert len(server.requests) == 4
    server.fail = [("INTERNAL", "broken")] * 2
    with pytest.raises(errors.ServerError, match="the server failed: broken"):
        client.predict(images)
    assert len(server.requests) == 5


def test_the_deadline_ends_a_call(client: Client, server: StandIn, images: Images) -> None:
    client.metadata()
    server.gate.clear()
    with pytest.raises(errors.DeadlineExceededError, match="no answer") as info:
        client.predict(images, timeout=0.1)
    assert isinstance(info.value, TimeoutError)
    server.gate.set()
    assert len(client.predict(images)) == 200


def test_a_closed_client_raises_an_error(client: Client, images: Images) -> None:
    client.predict(images)
    client.close()
    with pytest.raises(errors.ClosedError, match="is closed: create a new one"):
        client.predict(images)


def test_headers_are_sent_but_not_shown(
    make: Make, url: str, server: StandIn, images: Images
) -> None:
    client = make(url, headers={"Authorization": "Bearer s3cret"})
    client.predict(images[0])
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    server.fail = [("PERMISSION_DENIED", "no")]
    with pytest.raises(errors.AccessDeniedError, match="access denied: no; check") as info:
        client.predict(images[0])
    assert "s3cret" not in f"{client!r} {info.value!r} {vars(info.value)}"


def test_connections_are_kept() -> None:
    server = StandIn().serve()
    with Client(server.url("http")) as client:
        for _ in range(3):
            client.status()
    assert server.http.accepted == 1
    server.stop()


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        (
            "import kmnist.client, kmnist.client.testing",
            "grpc google.protobuf urllib3 aiohttp asyncio",
        ),
        ("from kmnist.client import Client; Client('grpc://a').close()", "urllib3 aiohttp"),
        ("from kmnist.client import Client; Client('http://a').close()", "grpc aiohttp"),
    ],
    ids=["import", "gRPC", "REST"],
)
def test_only_the_libraries_of_the_address_are_imported(code: str, unused: str) -> None:
    unused += " tensorflow keras"
    code += f"; import sys; print([name for name in {unused.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
