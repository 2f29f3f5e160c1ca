"""What a client promises, over both transports, blocking and with asyncio."""

import asyncio
import threading

import numpy as np
import pytest

from kmnist.client import (
    AsyncClient,
    BadAnswerError,
    Client,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    NotReadyError,
    OverloadedError,
    RequestTooLargeError,
    ServerError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from tests.client.standin import Model


def expected(server, images):
    return server.model.outputs("serving_default", images)


def same(predictions, outputs) -> None:
    np.testing.assert_array_equal(predictions.class_ids, outputs["class_ids"])
    np.testing.assert_array_equal(predictions.probabilities, outputs["probabilities"])
    assert predictions.class_names.tolist() == [n.decode() for n in outputs["class_names"]]
    assert predictions.probabilities.dtype == np.float32
    assert predictions.class_ids.dtype == np.int64


def test_predict(client, server, images) -> None:
    same(client.predict(images), expected(server, images))


def test_predict_one_image(client, server, images) -> None:
    predictions = client.predict(images[0])
    same(predictions, expected(server, images[:1]))
    (prediction,) = predictions
    assert prediction.class_name == str(prediction.class_id)
    assert prediction.probability == predictions.probabilities.max()


def test_predict_lists_and_wider_integers(client, server, images) -> None:
    same(client.predict(images[:2].tolist()), expected(server, images[:2]))
    same(client.predict(images[:2].astype(np.int32)), expected(server, images[:2]))


def test_predict_reads_typed_fields(client, server, images) -> None:
    server.typed = True
    same(client.predict(images), expected(server, images))


def test_pieces_come_back_in_order(make, url, server, images) -> None:
    same(make(url, batch_size=64).predict(images), expected(server, images))
    assert [count for _, count, _ in server.requests] == [64, 64, 64, 8]


def test_a_lower_limit_of_the_server_is_obeyed_and_remembered(client, server, images) -> None:
    server.max_batch_size = 100
    same(client.predict(images), expected(server, images))
    assert [count for _, count, _ in server.requests] == [200, 100, 100]
    client.predict(images)
    assert [count for _, count, _ in server.requests][3:] == [100, 100]


def test_a_limit_in_bytes_is_found_by_halving(client, server, images) -> None:
    client.metadata()
    server.fail = [("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)")] * 2
    same(client.predict(images), expected(server, images))
    assert [count for _, count, _ in server.requests] == [200, 100, 50, 50, 50, 50]


def test_one_image_that_is_too_large_is_an_error(client, server, images) -> None:
    client.metadata()
    server.fail = [("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)")]
    with pytest.raises(RequestTooLargeError, match="too large for the server"):
        client.predict(images[0])


@pytest.mark.parametrize("empty", [[], np.empty((0, 28, 28), np.uint8)], ids=["list", "array"])
def test_an_empty_input_is_answered_locally(client, server, empty) -> None:
    server.fail = [("INTERNAL", "was asked")] * 9
    predictions = client.predict(empty)
    assert len(predictions) == 0
    assert predictions.probabilities.shape == (0, 0)
    assert len(client.predict_pictures([])) == 0
    assert len(server.fail) == 9


def test_an_empty_answer_has_the_columns_of_the_model_once_it_is_known(client, images) -> None:
    client.predict(images[0])
    assert client.predict([]).probabilities.shape == (0, 10)


def test_rest_sends_raw_bytes_where_the_model_takes_them(client, server, scheme, images) -> None:
    client.predict(images)
    assert server.requests[0][0] == ("serving_default" if scheme == "grpc" else "pixels")
    del server.model.signatures["pixels"]
    client.metadata()
    same(client.predict(images), expected(server, images))
    assert server.requests[1][0] == "serving_default"


def test_predict_pictures(client, server, tmp_path) -> None:
    (tmp_path / "seven.png").write_bytes(b"7" * 70)
    pictures = [tmp_path / "seven.png", str(tmp_path / "seven.png"), b"\x00\xff" * 9]
    predictions = client.predict_pictures(pictures)
    contents = np.array([b"7" * 70, b"7" * 70, b"\x00\xff" * 9], dtype=object)
    same(predictions, server.model.outputs("pictures", contents))
    assert len(client.predict_pictures(tmp_path / "seven.png")) == 1


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((28, 28), np.float32), r"float32 with values from 0.0 to 0.0.*\(images \* 255\)"),
        (np.full((1, 28, 28), 254.5), "float64 with values from 254.5 to 254.5; expected whole"),
        (np.full((28, 28), 256), "int64 with values from 256 to 256; expected 0 to 255"),
        (np.full((28, 28), -1), "from -1 to -1"),
        (np.zeros((28, 28), bool), "received bool"),
        (np.zeros((1, 28, 28, 1), np.uint8), r"leave out the last axis: images\[..., 0\]"),
        (np.zeros(784, np.uint8), r"shape \(784,\); expected \(n, h, w\) or \(h, w\)"),
        ([[1, 2], [3]], "lists of different lengths"),
        ("seven.png", "received <U9"),
        (None, "received object"),
    ],
)  # fmt: skip
def test_bad_images_are_refused_before_anything_is_sent(client, server, bad, message) -> None:
    with pytest.raises(InvalidInputError, match=message) as info:
        client.predict(bad)
    assert (info.value.model, info.value.exit_code) == ("kmnist", 2)
    assert server.requests == []


def test_a_wrong_shape_is_refused_by_what_the_server_says_of_its_model(client, server) -> None:
    message = r"received uint8 \(1, 27, 28\); model 'kmnist' takes uint8 \(n, 28, 28\)"
    with pytest.raises(InvalidInputError, match=message):
        client.predict(np.zeros((27, 28), np.uint8))
    assert server.requests == []


def test_a_model_that_changed_is_noticed(client, server, images) -> None:
    client.predict(images)
    server.model = Model(height=14)
    server.states = {1: "END", 2: "AVAILABLE"}
    halves = images[:, ::2]
    same(client.predict(halves), expected(server, halves))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("no-such.png", "cannot read the picture no-such.png: No such file"),
        (b"", r"empty picture \(bytes\)"),
        ([b"x", 7], "received int as a picture"),
        (np.zeros((28, 28), np.uint8), "received ndarray as a picture"),
    ],
    ids=str,
)
def test_bad_pictures_are_refused_before_anything_is_sent(client, server, bad, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        client.predict_pictures(bad)
    assert server.requests == []


def test_status_is_newest_first(client, server) -> None:
    server.states = {1: "END", 3: "AVAILABLE", 2: "LOADING"}
    server.messages = {1: "bad weights"}
    found = client.status()
    assert [(each.version, each.state) for each in found] == [
        (3, "AVAILABLE"),
        (2, "LOADING"),
        (1, "END"),
    ]
    assert found[-1].error_message == "bad weights"


def test_metadata_leaves_out_what_nobody_can_call(client) -> None:
    metadata = client.metadata()
    assert metadata.version == 1
    assert set(metadata.signatures) == {"serving_default", "pixels", "pictures"}
    assert str(metadata.signatures["serving_default"].inputs["images"]) == "uint8 (n, 28, 28)"
    assert str(metadata.signatures["pixels"].inputs["pixels"]) == "string (n,)"


def test_a_version_or_a_label_can_be_asked(make, url, server, images) -> None:
    server.states = {1: "AVAILABLE", 2: "AVAILABLE"}
    assert make(url).metadata().version == 2
    assert make(url, version=1).metadata().version == 1
    assert make(url, label="stable").metadata().version == 1
    assert len(make(url, label="stable").predict(images[:3])) == 3
    assert [each.version for each in make(url, version=1).status()] == [1]
    assert len(make(url, label="stable").status()) == 2


# What is not there.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "nope"}, ModelNotFoundError, "no such model"),
        ({"version": 9}, VersionNotFoundError, "no version 9; the server knows 1"),
        ({"label": "canary"}, LabelNotFoundError, "no version has this label"),
    ],
)
@pytest.mark.parametrize("call", ["predict", "predict_pictures", "metadata", "wait_until_ready"])
def test_not_found(make, url, server, images, options, error, message, call) -> None:
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


def test_a_signature_that_is_missing_is_told_before_anything_is_sent(client, server) -> None:
    del server.model.signatures["pictures"]
    with pytest.raises(SignatureNotFoundError, match="'pictures'; it has pixels, serving_default"):
        client.predict_pictures(b"x")
    assert server.requests == []


def test_a_signature_that_went_away_meanwhile(client, server) -> None:
    client.metadata()
    del server.model.signatures["pictures"]
    with pytest.raises(SignatureNotFoundError, match="lacks this signature"):
        client.predict_pictures(b"x")


@pytest.mark.parametrize("state", ["LOADING", "END"])
def test_predict_tells_not_ready_from_not_found(client, server, images, state) -> None:
    server.states = {4: state}
    server.messages = {4: "out of memory"}
    message = f"version 4 of model 'kmnist' is {state}: out of memory"
    with pytest.raises(NotReadyError, match=message) as info:
        client.predict(images)
    assert (info.value.state, info.value.retryable) == (state, state == "LOADING")


# Readiness.


def test_ready(client, server) -> None:
    assert client.is_ready()
    assert client.wait_until_ready() is None
    server.states = {1: "LOADING"}
    assert not client.is_ready()


def test_wait_until_ready_waits_for_loading(client, server) -> None:
    server.states = {1: "LOADING"}
    threading.Timer(0.3, server.states.update, [{1: "AVAILABLE"}]).start()
    client.wait_until_ready(10)
    assert client.is_ready()


def test_wait_until_ready_tells_loading_and_ended_apart(client, server) -> None:
    server.states = {1: "LOADING"}
    with pytest.raises(NotReadyError, match="is LOADING; wait until it is AVAILABLE"):
        client.wait_until_ready(0.3)
    server.states = {1: "END"}
    with pytest.raises(NotReadyError, match="is END; export a version that loads"):
        client.wait_until_ready(60)
    server.states = {}
    with pytest.raises(NotReadyError, match="no version of model 'kmnist' yet"):
        client.wait_until_ready(0.3)


def test_wait_until_ready_tells_that_nothing_listens(make, scheme) -> None:
    with pytest.raises(NotReachableError, match="is it running"):
        make(f"{scheme}://127.0.0.1:1").wait_until_ready(0.3)


# Retries, deadlines, closing.


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"),
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted"),
    ],
)
def test_overload_is_retried(client, server, images, code, text) -> None:
    client.metadata()
    server.fail = [(code, text)] * 2
    same(client.predict(images), expected(server, images))
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
def test_the_servers_codes_mean_the_same_over_both_transports(
    make, url, server, images, code, error
) -> None:
    client = make(url, retries=0)
    client.metadata()
    server.fail = [(code, "it said so")]
    with pytest.raises(error, match="it said so") as info:
        client.predict(images)
    assert type(info.value) is error
    assert info.value.detail == "it said so"
    assert len(server.requests) == 1


def test_what_repeating_cannot_help_is_not_retried(client, server, images) -> None:
    client.metadata()
    server.fail = [("INTERNAL", "broken")] * 2
    with pytest.raises(ServerError):
        client.predict(images)
    assert len(server.requests) == 1


def test_retries_share_one_deadline(make, url, server, images) -> None:
    client = make(url, retries=1000, timeout=0.5)
    client.metadata(timeout=10)
    server.fail = [("UNAVAILABLE", "queue full")] * 1000
    with pytest.raises((OverloadedError, DeadlineExceededError)):
        client.predict(images)
    assert 1 < len(server.requests) < 10


def test_the_deadline_ends_a_call(client, server, images) -> None:
    client.metadata()
    server.delay = 0.5
    with pytest.raises(DeadlineExceededError, match=r"within|Deadline") as info:
        client.predict(images, timeout=0.1)
    assert isinstance(info.value, TimeoutError)
    server.delay = 0
    assert len(client.predict(images)) == 200


def test_all_pieces_share_one_deadline(make, url, server, images) -> None:
    client = make(url, batch_size=10, timeout=0.5)
    client.metadata(timeout=10)
    server.delay = 0.1
    with pytest.raises(DeadlineExceededError):
        client.predict(images)
    assert len(server.requests) < 10


def test_a_timeout_has_to_be_positive(client, images) -> None:
    with pytest.raises(InvalidInputError, match="timeout of 0 s; expected more than 0"):
        client.predict(images, timeout=0)


def test_a_closed_client_says_so(client, images) -> None:
    client.predict(images)
    client.close()
    with pytest.raises(ClosedError, match="is closed; make a new one"):
        client.predict(images)
    client.close()


def test_threads_may_share_a_client(url, images, server) -> None:
    answers = {}
    with Client(url) as client:

        def ask(index) -> None:
            answers[index] = client.predict(images[index])

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, answer in answers.items():
        same(answer, expected(server, images[index : index + 1]))
    assert len(answers) == 32


def test_headers_are_sent_and_never_shown(make, url, server, images) -> None:
    client = make(url, headers={"Authorization": "Bearer s3cret"})
    client.predict(images[0])
    assert server.requests[0][2]["authorization"] == "Bearer s3cret"
    server.fail = [("PERMISSION_DENIED", "no")]
    with pytest.raises(Exception, match="denied access") as info:
        client.predict(images[0])
    assert "s3cret" not in f"{client!r} {info.value!r} {info.value} {vars(info.value)}"


# Answers that contradict the model.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": None}, "lacks 'probabilities'; received class_ids, class_names"),
        ({"class_names": None}, "lacks 'class_names'"),
        (
            {"probabilities": np.zeros((3, 9), np.float32)},
            r"shapes \(\(3, 9\), .* expected \(\(3, 10\)",
        ),
        (
            {"probabilities": np.zeros((2, 10), np.float32)},
            r"shapes \(\(2, 10\), .* expected \(\(3, 10\)",
        ),
        ({"probabilities": np.full((3, 10), np.nan, np.float32)}, "NaN or infinite"),
        ({"probabilities": np.full((3, 10), np.inf, np.float32)}, "NaN or infinite"),
        ({"class_ids": np.array([0, 1, 10])}, "classes 0 to 10; the model has 10"),
        ({"class_ids": np.array([0, -1, 1])}, "classes -1 to 1"),
        ({"class_ids": np.zeros((3, 1), np.int64)}, r"\(3, 1\), \(3,\)\), expected"),
        ({"class_ids": np.zeros(3, np.float32)}, "'class_ids' is float32"),
    ],
)
def test_an_answer_that_contradicts_the_model(client, server, images, change, message) -> None:
    server.changed = lambda outputs: {
        name: value for name, value in (outputs | change).items() if value is not None
    }
    with pytest.raises(BadAnswerError, match=message):
        client.predict(images[:3])


# Giving up on a call.


def test_a_cancelled_task_cancels_its_request(url, server, images) -> None:
    async def ask():
        async with AsyncClient(url) as client:
            await client.metadata()
            server.delay = 0.5
            task = asyncio.create_task(client.predict(images))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.delay = 0
            return await client.predict(images[:2])

    assert len(asyncio.run(ask())) == 2


def test_closing_ends_the_calls_that_wait_over_grpc(server, images) -> None:
    with Client(f"grpc://127.0.0.1:{server.grpc_port}") as client:
        client.metadata()
        server.delay = 1
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ClosedError, match="was closed while it waited"):
            client.predict(images)


def test_closing_ends_the_calls_that_wait_with_asyncio(url, server, images) -> None:
    async def ask() -> None:
        client = AsyncClient(url)
        await client.metadata()
        server.delay = 1
        task = asyncio.create_task(client.predict(images))
        await asyncio.sleep(0.2)
        await client.close()
        with pytest.raises(ClosedError):
            await task

    asyncio.run(ask())
