"""What a call sends, and when it gives up, with a fake server."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist import errors
from kmnist.client import AsyncClient, Client, Metadata, Signature, TensorSpec, VersionStatus
from kmnist.client.testing import FakeTransport
from kmnist.protocol.messages import ModelSpec, Outputs, Request

IMAGES = np.arange(200 * 28 * 28).reshape(200, 28, 28).astype(np.uint8)


def seven(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[7] * len(values)]


def sizes(fake: FakeTransport) -> list[int]:
    return [len(next(iter(request.inputs.values()))) for request in fake.requests]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 1, "label": "stable"}, "a version or a label, not both"),
        ({"version": -1}, "version must be an integer from 0 to .*, not -1"),
        ({"version": 2**63}, "version must be an integer"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0, not 0"),
        ({"timeout": math.nan}, "not nan"),
        ({"retries": -1}, "retries must be an integer of at least 0, not -1"),
        ({"retries": 1.5}, "retries must be an integer"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, not 0"),
        ({"headers": {"a b": "c"}}, "'a b' cannot be the name of a header"),
        ({"headers": {"a": "s3cret\n"}}, "the value of header 'a' is not a string of printable"),
        ({"url": "localhost:8500"}, "'localhost:8500' is an address without a scheme; use grpc"),
    ],
    ids=str,
)
def test_an_invalid_argument_is_an_error(
    kind: type[Client | AsyncClient], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message) as info:
        kind(**options)
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"version": np.int64(3)}, "Client('grpc://a:8500', model='m', version=3)"),
        ({"label": "new"}, "Client('grpc://a:8500', model='m', label='new')"),
        ({"headers": {"authorization": "s3cret"}}, "Client('grpc://a:8500', model='m')"),
    ],
    ids=str,
)
def test_the_repr_shows_what_is_requested(options: dict[str, Any], text: str) -> None:
    client = Client("grpc://a", model="m", transport=FakeTransport(seven), **options)
    assert repr(client) == text
    assert (client.address, client.model) == ("grpc://a:8500", "m")


MIXED = Signature(
    {
        "ids": TensorSpec("DT_INT8", (None, 2)),
        "flag": TensorSpec("DT_BOOL", ()),
        "text": TensorSpec("DT_STRING", None),
        "x": TensorSpec("DT_HALF", (None,)),
    },
    {"y": TensorSpec("DT_FLOAT", (None,)), "z": TensorSpec("DT_STRING", ())},
)
GOOD: dict[str, Any] = {"ids": [[1, -2]], "flag": True, "text": "ö", "x": [1, 2.5]}


def mixed(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {"y": inputs["x"], "z": inputs["text"]}


def test_the_inputs_of_any_model_are_converted_to_its_dtypes() -> None:
    fake = FakeTransport(mixed, signatures={"mixed": MIXED})
    client = Client(transport=fake)
    found = client.call(GOOD, signature="mixed", outputs=["z"])
    assert found == {"z": np.array("ö".encode(), object)}
    sent = fake.requests[0].inputs
    assert {name: value.dtype.name for name, value in sent.items()} == {
        "ids": "int8",
        "flag": "bool",
        "text": "object",
        "x": "float16",
    }
    kept = np.zeros((3, 2), np.int8)
    client.call({**GOOD, "ids": kept, "x": []}, signature="mixed")
    assert fake.requests[1].inputs["ids"] is kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": None}, "no input 'ids'; the inputs of the signature: flag, ids, text, x"),
        ({"more": 1}, "unknown input 'more'; the inputs"),
        ({"ids": [[1.0, 2.0]]}, r"'ids' must be int8 \(n, 2\), not float64: convert it first"),
        ({"ids": [[1, 128]]}, "'ids' has values from 1 to 128, not all of which fit int8"),
        ({"ids": [[True, False]]}, "'ids' must be int8 .*, not bool"),
        ({"ids": [[2**64, 1]]}, "'ids' must be int8 .*, not objects"),
        ({"ids": [1, 2]}, r"'ids' must be int8 \(n, 2\), not of shape \(2,\)"),
        ({"ids": [[1, 2, 3]]}, r"'ids' must be int8 \(n, 2\), not of shape \(1, 3\)"),
        ({"ids": [[1, 2], [3]]}, "'ids' has lists of different lengths"),
        ({"flag": 1}, r"'flag' must be bool \(\), not int64"),
        ({"text": ["a", 1]}, "'text' consists of text or bytes, and has values of type int"),
        ({"text": [["a"], ["b", "c"]]}, "'text' .* and has lists of different lengths"),
        ({"text": "\ud800"}, "'text' has text that is not Unicode"),
        ({"x": ["1.5"]}, "'x' must be float16 .*, not text"),
        ({"x": [b"1.5"]}, "'x' must be float16 .*, not bytes"),
        ({"x": [1, 65520.0]}, "'x' has values from 1.0 to 65520.0, not all of which fit float16"),
        ({"x": [1 + 2j]}, "'x' must be float16 .*, not complex128"),
    ],
)
def test_an_input_that_does_not_fit_is_not_sent(changes: dict[str, Any], message: str) -> None:
    inputs = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    fake = FakeTransport(mixed, signatures={"serving_default": MIXED})
    with pytest.raises(errors.InvalidInputError, match=message):
        Client(transport=fake).call(inputs)
    assert not fake.requests


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": [1.0]}, errors.InvalidInputError, "has 4 inputs: pass a dict with the keys fl"),
        ({"signature": "no"}, errors.SignatureNotFoundError, "no signature 'no'; it has serving_d"),
        ({"signature": ""}, errors.SignatureNotFoundError, "no signature ''; it has serving_def"),
        ({"outputs": ["w"]}, errors.InvalidInputError, "has no output 'w'; it has y, z"),
        ({"outputs": [b"y"]}, errors.InvalidInputError, "has no output b'y'; it has y, z"),
        ({"outputs": "y"}, errors.InvalidInputError, "a sequence of at least one name, not 'y'"),
        ({"outputs": []}, errors.InvalidInputError, r"a sequence of at least one name, not \[\]"),
    ],
)
def test_what_the_signature_does_not_have_is_not_sent(
    arguments: dict[str, Any], error: type[errors.ClientError], message: str
) -> None:
    fake = FakeTransport(mixed, signatures={"serving_default": MIXED})
    with pytest.raises(error, match=message):
        Client(transport=fake).call(**{"inputs": GOOD, **arguments})
    assert not fake.requests


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"y": np.zeros(2, np.float64)}, r"y as float64 of shape \(2,\), not float32 \(n,\)"),
        ({"y": np.zeros((2, 2), np.float32)}, r"y as float32 of shape \(2, 2\), not"),
        ({"z": np.zeros(2, np.float32)}, "no y, only z"),
    ],
)
def test_an_answer_that_breaks_the_signature_is_an_error(
    outputs: dict[str, NDArray[Any]], message: str
) -> None:
    class Other(FakeTransport):
        def predict(self, request: Request, timeout: float) -> Outputs:
            return Outputs(outputs, 1)

    other = Other(mixed, signatures={"serving_default": MIXED})
    with pytest.raises(errors.BadAnswerError, match=message):
        Client(transport=other).call(GOOD)


def test_a_call_is_split_into_requests_of_the_batch_size() -> None:
    fake = FakeTransport(lambda images: np.eye(10)[images[:, 0, 0] % 10])
    predictions = Client(transport=fake, batch_size=64).predict(IMAGES, timeout=20)
    assert sizes(fake) == [64, 64, 64, 8]
    assert predictions.class_ids.tolist() == (IMAGES[:, 0, 0] % 10).tolist()
    # All of them share the deadline of the call.
    assert 20 > fake.timeouts[0] > fake.timeouts[-1] > 0
    assert fake.timeouts == sorted(fake.timeouts, reverse=True)


def test_pictures_are_split_by_their_size() -> None:
    fake = FakeTransport(seven)
    pictures = [bytes([1]) * size for size in (1_400_000, 1_400_000, 200_000, 5_000_000, 1)]
    assert len(Client(transport=fake).predict_pictures(pictures)) == 5
    assert sizes(fake) == [2, 1, 1, 1]


def test_one_image_that_is_too_large_is_an_error() -> None:
    def never(images: NDArray[Any]) -> NDArray[Any]:
        raise errors.RequestTooLargeError("too large")

    with pytest.raises(errors.RequestTooLargeError):
        Client(transport=FakeTransport(never)).predict(IMAGES[:2])


def test_three_retries_cover_about_half_a_second() -> None:
    fake = FakeTransport(seven, errors=[errors.OverloadedError("busy")] * 9)
    start = time.monotonic()
    with pytest.raises(errors.OverloadedError):
        Client(transport=fake).predict(IMAGES)
    assert 0.35 <= time.monotonic() - start < 5
    fake = FakeTransport(seven, errors=[errors.OverloadedError("busy")] * 3)
    assert len(Client(transport=fake).predict(IMAGES)) == 200


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (errors.OverloadedError("busy"), {"retries": 0}),
        (errors.OverloadedError("busy"), {"timeout": 0.04}),
        (errors.ServerError("no"), {}),
    ],
    ids=["no retries", "no time for a pause", "not retryable"],
)
def test_a_failure_is_final(error: errors.ClientError, options: dict[str, Any]) -> None:
    client = Client(transport=FakeTransport(seven, errors=[error]), **options)
    with pytest.raises(type(error)):
        client.predict(IMAGES)
    assert len(client.predict(IMAGES, timeout=9)) == 200


def test_no_request_is_sent_after_the_deadline() -> None:
    fake = FakeTransport(seven)
    with pytest.raises(errors.DeadlineExceededError, match="no answer within 1e-09 s"):
        Client(transport=fake).predict(IMAGES, timeout=1e-9)
    assert fake.requests == []


class Changing(FakeTransport):
    """A fake whose signatures are replaced, and that counts how often they are read."""

    def __init__(self) -> None:
        super().__init__(seven)
        self.found = super().metadata(ModelSpec("m"), 1)
        self.reads = 0

    def metadata(self, spec: ModelSpec, timeout: float) -> Metadata:
        """Return the signatures."""
        self.reads += 1
        return self.found


def test_the_signatures_are_read_when_needed() -> None:
    fake = Changing()
    client = Client(transport=fake)
    for size in (1, 200, 3):
        client.predict(IMAGES[:size])
    assert fake.reads == 1
    # The model of another shape was deployed: not a mistake of the caller.
    fake.found = FakeTransport(seven, image_shape=(14, 28)).metadata(ModelSpec("m"), 1)
    assert len(client.predict(IMAGES[:, ::2])) == 200
    assert fake.reads == 2
    # Another version answers than that of the signatures.
    fake.found = Metadata(0, fake.found.signatures)
    client.metadata()
    client.predict(IMAGES[:, ::2])
    client.predict(IMAGES[:, ::2])
    assert fake.reads == 4


def test_the_signatures_are_read_again_after_the_model_refused_a_request() -> None:
    def refusing(images: NDArray[Any]) -> NDArray[Any]:
        raise errors.InvalidInputError("no")

    fake = Changing()
    client = Client(transport=fake)
    client.predict(IMAGES)
    fake.predict = FakeTransport(refusing).predict  # type: ignore[method-assign]
    for reads in (1, 2):
        with pytest.raises(errors.InvalidInputError):
            client.predict(IMAGES)
        assert fake.reads == reads


OUTPUTS = {"probabilities": TensorSpec("DT_FLOAT", (None, 10))}
DEFAULT = Signature({"images": TensorSpec("DT_UINT8", (None, 28, 28))}, OUTPUTS)
STRINGS = Signature({"pixels": TensorSpec("DT_STRING", (None,))}, OUTPUTS)


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({}, "no signature 'serving_default' with one input; it has none"),
        ({"a": DEFAULT, "b": STRINGS}, r"it has a\(images\), b\(pixels\)"),
        (
            {"serving_default": Signature({**DEFAULT.inputs, **STRINGS.inputs}, {})},
            "images, pixels",
        ),
    ],
    ids=["none", "others", "two inputs"],
)
def test_a_model_without_a_usable_signature_is_an_error(
    signatures: dict[str, Signature], message: str
) -> None:
    fake = Changing()
    fake.found = Metadata(1, signatures)
    with pytest.raises(errors.SignatureNotFoundError, match=message):
        Client(transport=fake).predict(IMAGES)


def test_waiting_ends_when_it_can_no_longer_help() -> None:
    down = [errors.NotReachableError("refused"), errors.NotReadyError("LOADING")]
    Client(transport=FakeTransport(seven, errors=down)).wait_until_ready(9)
    for fake in (
        FakeTransport(seven, errors=[*down, errors.ModelNotFoundError("unknown")]),
        FakeTransport(seven, statuses=[VersionStatus(1, "END", "INTERNAL", "broken")]),
    ):
        with pytest.raises(errors.ClientError) as info:
            Client(transport=fake).wait_until_ready(60)
        assert not info.value.retryable
    # The last failure says more than the end of the time.
    endless = FakeTransport(seven, errors=[errors.NotReachableError("refused")] * 99)
    with pytest.raises(errors.NotReachableError, match="refused"):
        Client(transport=endless).wait_until_ready(0.1)


def test_a_call_may_take_any_time() -> None:
    fake = FakeTransport(seven)
    assert len(Client(transport=fake, timeout=math.inf).predict(IMAGES)) == 200
    assert fake.timeouts[0] < 2**31 / 1000  # sockets take no more
