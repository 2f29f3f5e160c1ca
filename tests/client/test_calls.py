"""The calls of a client, executed step by step without waiting."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import (
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    NotReachableError,
    NotReadyError,
    OverloadedError,
    RequestTooLargeError,
    ServerError,
    SignatureNotFoundError,
    VersionNotFoundError,
    VersionStatus,
)
from kmnist.client.calls import Calls, Flow, Send
from kmnist.client.testing import FakeTransport
from kmnist.protocol.messages import Metadata, ModelSpec, Signature, TensorSpec

T = TypeVar("T")

IMAGES = np.arange(200 * 28 * 28).reshape(200, 28, 28).astype(np.uint8)


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


def calls(
    *transports: FakeTransport, spec: ModelSpec | None = None, retries: int = 3, batch: int = 1000
) -> Calls:
    return Calls(
        spec or ModelSpec("kmnist"), transports, timeout=30, retries=retries, batch_size=batch
    )


def execute(flow: Flow[T]) -> tuple[T, list[str | float]]:
    """Return the result of a call and its steps: methods by name, pauses in seconds."""
    steps: list[str | float] = []
    try:
        step = next(flow)
        while True:
            if not isinstance(step, Send):
                steps.append(step.seconds)
                step = flow.send(None)
                continue
            steps.append(step.method.__name__)
            try:
                result = step.method(*step.args)
            except ClientError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as stop:
        return stop.value, steps


def fail_next(fake: FakeTransport, *errors: ClientError) -> None:
    fake._errors.extend(errors)


def errors_left(fake: FakeTransport) -> int:
    return len(fake._errors)


def counts(fake: FakeTransport) -> list[int]:
    return [len(next(iter(request.inputs.values()))) for request in fake.requests]


def test_the_signatures_are_read_before_the_first_prediction_only() -> None:
    kmnist = calls(FakeTransport(seven))
    assert execute(kmnist.predict(IMAGES[0], None))[1] == ["metadata", "predict"]
    assert execute(kmnist.predict(IMAGES[0], None))[1] == ["predict"]
    assert execute(kmnist.predict(IMAGES[:3], None))[1] == ["predict"]


def test_no_images_are_answered_without_a_request() -> None:
    kmnist = calls(FakeTransport(seven))
    predictions, steps = execute(kmnist.predict([], None))
    assert (predictions.probabilities.shape, steps) == ((0, 0), [])
    predictions, steps = execute(kmnist.predict_pictures([], None))
    assert (len(predictions), steps) == (0, [])
    execute(kmnist.predict(IMAGES, None))
    assert execute(kmnist.predict([], None))[0].probabilities.shape == (0, 10)


def test_a_call_is_split_into_requests_of_the_batch_size() -> None:
    fake = FakeTransport(lambda images: np.eye(10)[images[:, 0, 0] % 10])
    predictions, _ = execute(calls(fake, batch=64).predict(IMAGES, None))
    assert counts(fake) == [64, 64, 64, 8]
    assert predictions.class_ids.tolist() == (IMAGES[:, 0, 0] % 10).tolist()


def test_a_lower_limit_of_the_server_is_respected_and_remembered() -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.metadata(None))
    fail_next(fake, RequestTooLargeError("too large", limit=150))
    assert len(execute(kmnist.predict(IMAGES, None))[0]) == 200
    assert counts(fake) == [200, 150, 50]
    execute(kmnist.predict(IMAGES, None))
    assert counts(fake)[3:] == [150, 50]


def test_an_unknown_limit_is_found_by_halving() -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.metadata(None))
    fail_next(fake, RequestTooLargeError("too large"), RequestTooLargeError("too large"))
    execute(kmnist.predict(IMAGES, None))
    assert counts(fake) == [200, 100, 50, 50, 50, 50]


def test_one_image_that_is_too_large_is_an_error() -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.metadata(None))
    fail_next(fake, RequestTooLargeError("too large"))
    with pytest.raises(RequestTooLargeError):
        execute(kmnist.predict(IMAGES[0], None))


def test_temporary_failures_are_retried_after_growing_pauses() -> None:
    fake = FakeTransport(seven, errors=[OverloadedError("busy")] * 3)
    _, steps = execute(calls(fake).metadata(None))
    assert steps[::2] == ["metadata"] * 4
    pauses = [pause for pause in steps[1::2] if isinstance(pause, float)]
    for pause, longest in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize(
    ("error", "retries", "left"),
    [(OverloadedError("busy"), 3, 5), (OverloadedError("busy"), 0, 8), (ServerError("no"), 3, 8)],
    ids=["retries exhausted", "no retries", "not retryable"],
)
def test_retries_end(error: ClientError, retries: int, left: int) -> None:
    fake = FakeTransport(seven, errors=[error] * 9)
    with pytest.raises(type(error)):
        execute(calls(fake, retries=retries).metadata(None))
    assert errors_left(fake) == left


def test_another_server_is_tried_without_a_pause() -> None:
    down = FakeTransport(seven, errors=[NotReachableError("refused")] * 9)
    up = FakeTransport(seven)
    assert execute(calls(down, up).metadata(None))[1] == ["metadata", "metadata"]
    assert errors_left(down) == 8


def test_there_is_a_pause_if_all_servers_are_down() -> None:
    down = [FakeTransport(seven, errors=[NotReachableError("refused")]) for _ in range(2)]
    _, steps = execute(calls(*down).metadata(None))
    assert [type(step) for step in steps] == [str, str, float, str]


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(InvalidInputError, match=f"received timeout={timeout}; expected more than"):
        execute(calls(FakeTransport(seven)).predict(IMAGES, timeout))


def test_no_request_is_sent_after_the_deadline() -> None:
    fake = FakeTransport(seven)
    with pytest.raises(DeadlineExceededError, match="no answer within 1e-09 s"):
        execute(calls(fake).predict(IMAGES, 1e-9))
    assert fake.requests == []


def test_requests_of_a_call_share_its_deadline() -> None:
    fake = FakeTransport(seven)
    execute(calls(fake, batch=100).predict(IMAGES, 20))
    first, second = (request.timeout for request in fake.requests)
    assert 20 > first > second > 0


def test_a_wrong_shape_is_an_error_before_anything_is_sent() -> None:
    fake = FakeTransport(seven)
    with pytest.raises(InvalidInputError, match=r"model 'kmnist' expects uint8 \(n, 28, 28\)"):
        execute(calls(fake).predict(IMAGES[:, :20], None))
    assert fake.requests == []


def test_the_signatures_are_read_again_before_images_are_refused() -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.predict(IMAGES, None))
    fake._image_shape = (14, 28)
    assert len(execute(kmnist.predict(IMAGES[:, ::2], None))[0]) == 200


@pytest.mark.parametrize("error", [InvalidInputError("no"), SignatureNotFoundError("no")])
def test_the_signatures_are_read_again_after_the_model_refused_a_request(
    error: ClientError,
) -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.metadata(None))
    fail_next(fake, error)
    with pytest.raises(type(error)):
        execute(kmnist.predict(IMAGES, None))
    assert execute(kmnist.predict(IMAGES, None))[1] == ["metadata", "predict"]


def test_the_signatures_are_read_again_after_another_version_answered() -> None:
    fake = FakeTransport(seven)
    kmnist = calls(fake)
    execute(kmnist.predict(IMAGES, None))
    fake._statuses = [VersionStatus(2, "AVAILABLE")]
    assert execute(kmnist.predict(IMAGES, None))[1] == ["predict"]
    assert execute(kmnist.predict(IMAGES, None))[1] == ["metadata", "predict"]


class WithSignatures(FakeTransport):
    """Reports other signatures than a FakeTransport."""

    def __init__(self, signatures: dict[str, Signature], *, prefers_bytes: bool = False) -> None:
        super().__init__(seven)
        self.sends_bytes_best = prefers_bytes
        self._signatures = signatures

    def metadata(self, _spec: ModelSpec, _timeout: float) -> Metadata:
        return Metadata(1, self._signatures)


PROBABILITIES = {"probabilities": TensorSpec("DT_FLOAT", (None, 10))}
IMAGES_SIGNATURE = Signature({"images": TensorSpec("DT_UINT8", (None, 28, 28))}, PROBABILITIES)
PIXELS_SIGNATURE = Signature({"pixels": TensorSpec("DT_STRING", (None,))}, PROBABILITIES)
OTHER_PIXELS = Signature({"pixels": TensorSpec("DT_FLOAT", (None, 784))}, PROBABILITIES)


@pytest.mark.parametrize(
    ("pixels", "prefers_bytes", "name"),
    [
        (PIXELS_SIGNATURE, True, "pixels"),
        (PIXELS_SIGNATURE, False, "serving_default"),
        (OTHER_PIXELS, True, "serving_default"),
        (None, True, "serving_default"),
    ],
    ids=["preferred", "not preferred", "another dtype", "missing"],
)
def test_pixels_are_sent_as_bytes_if_transport_and_model_prefer_it(
    pixels: Signature | None, prefers_bytes: bool, name: str
) -> None:
    signatures = {"serving_default": IMAGES_SIGNATURE} | ({"pixels": pixels} if pixels else {})
    fake = WithSignatures(signatures, prefers_bytes=prefers_bytes)
    execute(calls(fake).predict(IMAGES[:2], None))
    (request,) = fake.requests
    assert request.signature == name
    if name == "pixels":
        assert request.inputs["pixels"].tolist() == [image.tobytes() for image in IMAGES[:2]]


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({}, "no signature 'serving_default'; it has none"),
        ({"a": IMAGES_SIGNATURE, "b": PIXELS_SIGNATURE}, "'serving_default'; it has a, b"),
        ({"serving_default": Signature({}, {})}, "'serving_default' takes no input; expected exac"),
        (
            {"serving_default": Signature(dict.fromkeys("ba", TensorSpec("DT_FLOAT", None)), {})},
            "takes a, b; expected exactly one input",
        ),
    ],
    ids=["none", "others", "no input", "two inputs"],
)
def test_a_model_without_a_usable_signature_is_an_error(
    signatures: dict[str, Signature], message: str
) -> None:
    with pytest.raises(SignatureNotFoundError, match=message):
        execute(calls(WithSignatures(signatures)).predict(IMAGES, None))


def test_pictures_are_split_by_their_size() -> None:
    fake = FakeTransport(seven)
    pictures = [bytes([1]) * size for size in (1_400_000, 1_400_000, 200_000, 5_000_000, 1)]
    assert len(execute(calls(fake).predict_pictures(pictures, None))[0]) == 5
    assert counts(fake) == [2, 1, 1, 1]


def test_statuses_are_sorted_newest_first() -> None:
    fake = FakeTransport(seven, statuses=[VersionStatus(n, "AVAILABLE") for n in (1, 3, 2)])
    found, _ = execute(calls(fake).status(None))
    assert [status.version for status in found] == [3, 2, 1]


NOT_FOUND = "Servable not found for request"


@pytest.mark.parametrize(
    ("spec", "statuses", "error", "message"),
    [
        (ModelSpec("m", 9), [VersionStatus(1, "AVAILABLE")], VersionNotFoundError, "server has 1"),
        (ModelSpec("m", 9), [], VersionNotFoundError, "has no version 9; the server has none"),
        (ModelSpec("m"), [VersionStatus(1, "LOADING")], NotReadyError, "version 1 .* is LOADING"),
        (ModelSpec("m", 1), [VersionStatus(1, "END")], NotReadyError, "version 1 .* is END"),
        (ModelSpec("m"), [VersionStatus(1, "AVAILABLE")], ModelNotFoundError, NOT_FOUND),
    ],
)
def test_a_model_that_is_not_found_is_explained_by_its_status(
    spec: ModelSpec, statuses: list[VersionStatus], error: type[ClientError], message: str
) -> None:
    fake = FakeTransport(seven, statuses=statuses, errors=[ModelNotFoundError(NOT_FOUND)])
    with pytest.raises(error, match=message):
        execute(calls(fake, spec=spec).metadata(None))


def test_a_failed_explanation_leaves_the_error_as_it_was() -> None:
    errors = [ModelNotFoundError(NOT_FOUND), ServerError("broken")]
    with pytest.raises(ModelNotFoundError, match=NOT_FOUND):
        execute(calls(FakeTransport(seven, errors=errors)).metadata(None))


@pytest.mark.parametrize(
    ("statuses", "ready"),
    [
        ([VersionStatus(1, "AVAILABLE"), VersionStatus(2, "LOADING")], True),
        ([VersionStatus(1, "LOADING")], False),
        ([], False),
    ],
)
def test_a_model_is_ready_if_a_version_is_available(
    statuses: Sequence[VersionStatus], ready: bool
) -> None:
    kmnist = calls(FakeTransport(seven, statuses=statuses))
    assert execute(kmnist.is_ready(None)) == (ready, ["status"])


def test_a_label_is_ready_if_a_request_with_it_succeeds() -> None:
    labelled = calls(FakeTransport(seven), spec=ModelSpec("kmnist", label="stable"))
    assert execute(labelled.is_ready(None)) == (True, ["status", "metadata"])


def test_readiness_is_false_after_any_failure_without_retries() -> None:
    kmnist = calls(FakeTransport(seven, errors=[OverloadedError("busy")]))
    assert execute(kmnist.is_ready(None)) == (False, ["status"])


def test_waiting_polls_until_the_model_is_available() -> None:
    fake = FakeTransport(seven, errors=[NotReachableError("refused"), NotReadyError("LOADING")])
    assert execute(calls(fake).wait_until_ready(9))[1] == ["status", 0.25, "status", 0.25, "status"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: FakeTransport(seven, errors=[ModelNotFoundError("unknown")]),
        lambda: FakeTransport(seven, statuses=[VersionStatus(1, "END", "INTERNAL", "broken")]),
    ],
    ids=["unknown model", "failed load"],
)
def test_waiting_ends_at_once_if_it_is_useless(make: Callable[[], FakeTransport]) -> None:
    with pytest.raises(ClientError) as info:
        execute(calls(make()).wait_until_ready(9))
    assert not info.value.retryable
