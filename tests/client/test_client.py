"""The client over both transports, blocking and asyncio, with a server in this process."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import (
    BadAnswerError,
    Client,
    ClientError,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    NotReadyError,
    OverloadedError,
    Predictions,
    ServerError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from tests.client.conftest import Make
from tests.client.standin import Arrays, Model, StandIn

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


def test_a_single_image_is_predicted(client: Client, server: StandIn, images: Images) -> None:
    predictions = client.predict(images[0])
    assert_same(predictions, expected(server, images[:1]))
    (prediction,) = predictions
    assert prediction.class_name == str(prediction.class_id)
    assert prediction.probability == predictions.probabilities.max()


def test_lists_and_wider_integers_are_predicted(
    client: Client, server: StandIn, images: Images
) -> None:
    assert_same(client.predict(images[:2].tolist()), expected(server, images[:2]))
    assert_same(client.predict(images[:2].astype(np.int32)), expected(server, images[:2]))


def test_answers_in_typed_fields_are_read(client: Client, server: StandIn, images: Images) -> None:
    server.typed = True
    assert_same(client.predict(images), expected(server, images))


def test_a_limit_in_the_servers_text_is_respected(
    client: Client, server: StandIn, images: Images
) -> None:
    server.max_batch_size = 150
    assert_same(client.predict(images), expected(server, images))
    assert [request.size for request in server.requests] == [200, 150, 50]


def test_a_limit_in_bytes_is_respected(client: Client, server: StandIn, images: Images) -> None:
    client.metadata()
    server.fail = [("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)")]
    assert_same(client.predict(images), expected(server, images))
    assert [request.size for request in server.requests] == [200, 100, 100]


def test_rest_sends_raw_bytes_if_the_model_accepts_them(
    client: Client, server: StandIn, scheme: str, images: Images
) -> None:
    client.predict(images)
    assert server.requests[0].signature == ("serving_default" if scheme == "grpc" else "pixels")
    del server.model.inputs["pixels"]
    client.metadata()
    assert_same(client.predict(images), expected(server, images))
    assert server.requests[1].signature == "serving_default"


def test_pictures_are_predicted(client: Client, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(b"7" * 70)
    pictures: list[Path | str | bytes] = [
        tmp_path / "seven.png",
        str(tmp_path / "seven.png"),
        b"\x00\xff" * 9,
    ]
    predictions = client.predict_pictures(pictures)
    contents = np.array([b"7" * 70, b"7" * 70, b"\x00\xff" * 9], dtype=object)
    assert_same(predictions, server.model.outputs("pictures", contents))
    assert len(client.predict_pictures(tmp_path / "seven.png")) == 1


def test_bad_images_are_an_error_before_anything_is_sent(client: Client, server: StandIn) -> None:
    with pytest.raises(InvalidInputError, match=r"float64 with values from 0.0 to 0.0") as info:
        client.predict(np.zeros((28, 28)))
    assert (info.value.model, info.value.exit_code) == ("kmnist", 2)
    assert server.requests == []


def test_bad_pictures_are_an_error_before_anything_is_sent(client: Client, server: StandIn) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot read the picture no-such.png") as info:
        client.predict_pictures("no-such.png")
    assert (info.value.model, info.value.exit_code) == ("kmnist", 2)
    assert server.requests == []


def test_an_answer_that_contradicts_the_model_is_an_error(
    client: Client, server: StandIn, images: Images
) -> None:
    server.change = lambda outputs: outputs | {"class_ids": outputs["class_ids"] + 10}
    with pytest.raises(BadAnswerError, match=r"received classes 1\d to 1\d; expected 0 to 9"):
        client.predict(images)


def test_a_shape_that_the_model_does_not_accept_is_an_error_before_anything_is_sent(
    client: Client, server: StandIn
) -> None:
    message = r"received images uint8 \(1, 27, 28\); model 'kmnist' expects uint8 \(n, 28, 28\)"
    with pytest.raises(InvalidInputError, match=message):
        client.predict(np.zeros((27, 28), np.uint8))
    assert server.requests == []


def test_a_changed_model_is_detected(client: Client, server: StandIn, images: Images) -> None:
    client.predict(images)
    server.model = Model(height=14)
    server.states = {1: "END", 2: "AVAILABLE"}
    halves = images[:, ::2]
    assert_same(client.predict(halves), expected(server, halves))


def test_status_is_newest_first(client: Client, server: StandIn) -> None:
    server.states = {1: "END", 3: "AVAILABLE", 2: "LOADING"}
    server.messages = {1: "bad weights"}
    found = client.status()
    assert [(each.version, each.state) for each in found] == [
        (3, "AVAILABLE"),
        (2, "LOADING"),
        (1, "END"),
    ]
    assert found[-1].error_message == "bad weights"


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
    assert make(url, label="stable").metadata().version == 1
    assert len(make(url, label="stable").predict(images[:3])) == 3
    assert [each.version for each in make(url, version=1).status()] == [1]
    assert len(make(url, label="stable").status()) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "nope"}, ModelNotFoundError, "no such model"),
        ({"version": 9}, VersionNotFoundError, "no version 9; the server has 1"),
        ({"label": "canary"}, LabelNotFoundError, "no version has this label"),
    ],
)
@pytest.mark.parametrize("call", ["predict", "predict_pictures", "metadata", "wait_until_ready"])
def test_an_unknown_model_version_or_label_is_an_error_of_its_own(
    make: Make,
    url: str,
    server: StandIn,
    images: Images,
    options: dict[str, Any],
    error: type[ClientError],
    message: str,
    call: str,
) -> None:
    argument = {"predict": (images,), "predict_pictures": (b"x",)}.get(call, ())
    if call == "wait_until_ready" and error is VersionNotFoundError:
        message = "no such version"
    with pytest.raises(error, match=message) as info:
        getattr(make(url, **options), call)(*argument)
    found = info.value
    assert found.detail
    assert not found.retryable
    assert (found.address, found.model) == (url, options.get("model", "kmnist"))
    assert (found.version, found.label) == (options.get("version"), options.get("label"))
    assert not make(url, **options).is_ready()


def test_a_missing_signature_is_an_error_before_anything_is_sent(
    client: Client, server: StandIn
) -> None:
    del server.model.inputs["pictures"]
    with pytest.raises(SignatureNotFoundError, match="'pictures'; it has pixels, serving_default"):
        client.predict_pictures(b"x")
    assert server.requests == []


def test_a_signature_that_was_removed_meanwhile_is_an_error(
    client: Client, server: StandIn
) -> None:
    client.metadata()
    del server.model.inputs["pictures"]
    with pytest.raises(SignatureNotFoundError, match="lacks this signature"):
        client.predict_pictures(b"x")


@pytest.mark.parametrize("state", ["LOADING", "END"])
def test_a_version_that_is_not_ready_is_an_error_with_its_state(
    client: Client, server: StandIn, images: Images, state: str
) -> None:
    server.states = {4: state}
    server.messages = {4: "out of memory"}
    message = f"version 4 of model 'kmnist' is {state}: out of memory"
    with pytest.raises(NotReadyError, match=message) as info:
        client.predict(images)
    assert (info.value.state, info.value.retryable) == (state, state == "LOADING")


def test_readiness_follows_the_state(client: Client, server: StandIn) -> None:
    assert client.is_ready()
    client.wait_until_ready()
    server.states = {1: "LOADING"}
    assert not client.is_ready()


def test_waiting_ends_when_the_version_is_available(client: Client, server: StandIn) -> None:
    server.states = {1: "LOADING"}
    threading.Timer(0.3, server.states.update, [{1: "AVAILABLE"}]).start()
    client.wait_until_ready(10)
    assert client.is_ready()


def test_waiting_for_a_version_that_does_not_load_is_an_error_with_its_state(
    client: Client, server: StandIn
) -> None:
    server.states = {1: "LOADING"}
    with pytest.raises(NotReadyError, match="is LOADING; wait until it is AVAILABLE"):
        client.wait_until_ready(0.3)
    server.states = {1: "END"}
    with pytest.raises(NotReadyError, match="is END; export a version that loads"):
        client.wait_until_ready(60)
    server.states = {}
    with pytest.raises(NotReadyError, match="no version of model 'kmnist' yet"):
        client.wait_until_ready(0.3)


def test_waiting_for_a_server_that_is_down_is_an_error(make: Make, scheme: str) -> None:
    with pytest.raises(NotReachableError, match="is it running"):
        make(f"{scheme}://127.0.0.1:1").wait_until_ready(0.3)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"),
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted"),
    ],
)
def test_overload_is_retried(
    client: Client, server: StandIn, images: Images, code: str, text: str
) -> None:
    client.metadata()
    server.fail = [(code, text)] * 2
    assert_same(client.predict(images), expected(server, images))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("UNAVAILABLE", OverloadedError),
        ("RESOURCE_EXHAUSTED", OverloadedError),
        ("INTERNAL", ServerError),
        ("UNKNOWN", ServerError),
        ("ABORTED", ServerError),
        ("INVALID_ARGUMENT", InvalidInputError),
        ("FAILED_PRECONDITION", InvalidInputError),
        ("UNIMPLEMENTED", BadAnswerError),
        ("DEADLINE_EXCEEDED", DeadlineExceededError),
    ],
)
def test_a_code_is_the_same_error_over_both_transports(
    make: Make, url: str, server: StandIn, images: Images, code: str, error: type[ClientError]
) -> None:
    client = make(url, retries=0)
    client.metadata()
    server.fail = [(code, "the reason")]
    with pytest.raises(error, match="the reason") as info:
        client.predict(images)
    assert type(info.value) is error
    assert info.value.detail == "the reason"
    assert len(server.requests) == 1


def test_permanent_failures_are_not_retried(
    client: Client, server: StandIn, images: Images
) -> None:
    client.metadata()
    server.fail = [("INTERNAL", "broken")] * 2
    with pytest.raises(ServerError):
        client.predict(images)
    assert len(server.requests) == 1


def test_the_deadline_ends_a_call(client: Client, server: StandIn, images: Images) -> None:
    client.metadata()
    server.delay = 0.5
    with pytest.raises(DeadlineExceededError, match=r"within|Deadline") as info:
        client.predict(images, timeout=0.1)
    assert isinstance(info.value, TimeoutError)
    server.delay = 0
    assert len(client.predict(images)) == 200


def test_all_requests_of_a_call_share_one_deadline(
    make: Make, url: str, server: StandIn, images: Images
) -> None:
    client = make(url, batch_size=10, timeout=0.5)
    client.metadata(timeout=10)
    server.delay = 0.1
    with pytest.raises(DeadlineExceededError):
        client.predict(images)
    assert len(server.requests) < 10


def test_a_closed_client_raises_an_error(client: Client, images: Images) -> None:
    client.predict(images)
    client.close()
    with pytest.raises(ClosedError, match="is closed; create a new one"):
        client.predict(images)
    client.close()


def test_threads_may_share_a_client(url: str, images: Images, server: StandIn) -> None:
    answers: dict[int, Predictions] = {}
    with Client(url) as client:

        def ask(index: int) -> None:
            answers[index] = client.predict(images[index])

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, answer in answers.items():
        assert_same(answer, expected(server, images[index : index + 1]))
    assert len(answers) == 32


def test_headers_are_sent_but_never_shown(
    make: Make, url: str, server: StandIn, images: Images
) -> None:
    client = make(url, headers={"Authorization": "Bearer s3cret"})
    client.predict(images[0])
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    server.fail = [("PERMISSION_DENIED", "no")]
    with pytest.raises(Exception, match="denied access") as info:
        client.predict(images[0])
    assert "s3cret" not in f"{client!r} {info.value!r} {info.value} {vars(info.value)}"
