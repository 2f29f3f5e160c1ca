"""Hostile answers: each is accepted, or an error of this package.

Run as ``python -m tests.client.test_fuzz 20000``, it tries so many answers of each kind and prints
what became of them.
"""

import contextlib
import json
import random
import socket
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from kmnist.client.address import Address
from kmnist.client.predictions import predictions
from kmnist.client.transports import grpc_messages, open_transports, rest_messages
from kmnist.errors import ClientError
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec, Outputs
from kmnist.protocol.tensors import from_array
from tests.client.standin import Model, as_dict

LIMIT = 1 << 20
MODEL = Model(2, 2, 3)
OUTPUTS = MODEL.outputs("serving_default", np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
SIGNATURES = rest_messages.metadata(
    {
        "model_spec": {"version": "1"},
        "metadata": {"signature_def": as_dict(MODEL.definitions())},
    }
).signatures

JSON_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 0.5, 1e39, 1e308,
    float("nan"), float("inf"), -float("inf"), "", "7", "-1", "NaN", "\ud800", "a" * 300, "\0",
    [], {}, [[]], [[0.5], [0.5, 0.5]], {"size": "x"}, {"dim": [{}]}, {"error": 3},
]  # fmt: skip
JSON_KEYS = (
    "outputs predictions error probabilities class_ids class_names version state dim".split()
)
JSON_ANSWERS: list[Any] = [
    {"outputs": {"probabilities": OUTPUTS["probabilities"].tolist(), "class_ids": [0, 1],
                 "class_names": ["0", "1"]}},
    {"model_spec": {"version": "1"},
     "metadata": {"signature_def": as_dict(MODEL.definitions())}},
    {"model_version_status": [{"version": "1", "state": "AVAILABLE",
                               "status": {"error_code": "OK", "error_message": ""}}]},
    {"error": "Servable not found for request: Latest(kmnist)"},
]  # fmt: skip


def read_json(body: bytes, status: int) -> None:
    """Read an answer over REST in every way."""
    parsed = rest_messages.answer(status, "application/json", body)
    read_each(
        lambda: check_outputs(rest_messages.outputs(parsed)),
        lambda: rest_messages.metadata(parsed),
        lambda: rest_messages.statuses(parsed),
    )


def read_protobuf(body: bytes) -> None:
    """Read an answer over gRPC in every way."""
    read_each(
        lambda: check_outputs(grpc_messages.outputs(body, LIMIT)),
        lambda: grpc_messages.metadata(body),
        lambda: grpc_messages.statuses(body),
    )


def read_each(*reads: Callable[[], object]) -> None:
    """Read an answer in every way; raise the error of the last failure."""
    error: ClientError | None = None
    for read in reads:
        try:
            read()
        except ClientError as found:
            error = found
    if error is not None:
        raise error


def check_outputs(outputs: Outputs) -> None:
    found = predictions(outputs, 2, SIGNATURES["serving_default"].outputs)
    assert len(list(found)) == 2
    predictions(outputs, 2, {})


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return bytes with up to eight changes: replaced, inserted, removed, repeated or cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randint(0, len(changed)), chance.randint(1, 9)
        match chance.randint(0, 4):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                changed[at:at] = chance.choice([b"\xff" * length, chance.randbytes(length)])
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + 10 * length] * length
            case _ if chance.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def mutated_json(value: Any, chance: random.Random) -> Any:
    """Return a JSON value of which some parts are replaced."""
    if chance.random() < 0.12:
        return chance.choice([*JSON_VALUES, *JSON_ANSWERS])
    if isinstance(value, dict):
        return {
            chance.choice(JSON_KEYS) if chance.random() < 0.05 else key: mutated_json(each, chance)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [mutated_json(each, chance) for each in value]
    return value


def json_answers(chance: random.Random) -> Iterator[Callable[[], None]]:
    while True:
        body = json.dumps(mutated_json(chance.choice(JSON_ANSWERS), chance)).encode()
        if chance.random() < 0.3:
            body = mutated(body, chance)
        status = chance.choice([200] * 9 + [400, 404, 499, 500, 503, 302, 777])
        yield partial(read_json, body, status)


def protobuf_answers(chance: random.Random) -> Iterator[Callable[[], None]]:
    messages: list[Any] = [pb.PredictResponse(), pb.PredictResponse()]
    for message, typed in zip(messages, (True, False), strict=True):
        for name, array in OUTPUTS.items():
            from_array(array, message.outputs[name], typed=typed)
    metadata = pb.GetModelMetadataResponse()
    metadata.metadata["signature_def"].value = MODEL.definitions().SerializeToString()
    status = pb.GetModelStatusResponse(model_version_status=[pb.ModelVersionStatus(version=1)])
    answers = [each.SerializeToString() for each in (*messages, metadata, status)]
    while True:
        body = mutated(chance.choice(answers), chance)
        yield partial(read_protobuf, body)


def http_answers(chance: random.Random) -> Iterator[Callable[[], None]]:
    """Answer over a connection, with damaged lines, headers and framing."""
    body = json.dumps(JSON_ANSWERS[2]).encode()
    length = f"content-length: {len(body)}\r\n".encode()
    chunked = b"transfer-encoding: chunked\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + head + b"\r\n" + rest
        for head, rest in (
            (length, body), (chunked, chunks), (b"", body), (length + chunked, chunks),
            (b"content-encoding: gzip\r\n" + length, body),
            (b"content-encoding: deflate\r\n" + chunked, chunks),
            (b"location: /\r\n" + length, body),
        )
    ]  # fmt: skip
    answers.append(b"HTTP/1.1 100 Continue\r\n\r\n" + answers[0])
    current = [b""]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1 << 16)
                    connection.sendall(current[0])

    threading.Thread(target=serve, daemon=True).start()
    address = Address.parse(f"http://127.0.0.1:{listener.getsockname()[1]}")
    (transport,) = open_transports(address, {}, LIMIT)
    while True:
        answer = mutated(chance.choice(answers), chance)

        def call(answer: bytes = answer) -> None:
            current[0] = answer
            transport.status(ModelSpec("kmnist"), 2)

        yield call


KINDS = {"JSON": json_answers, "protobuf": protobuf_answers, "HTTP": http_answers}


def fuzz(kind: str, count: int, seed: int = 0) -> Counter[str]:
    """Try a number of answers; count the results by class of error."""
    results: Counter[str] = Counter()
    cases = KINDS[kind](random.Random(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(count):
            case = next(cases)
            try:
                case()
            except ClientError as error:
                results[type(error).__name__] += 1
            else:
                results["accepted"] += 1
    return results


@pytest.mark.parametrize(("kind", "count"), [("JSON", 2000), ("protobuf", 2000), ("HTTP", 100)])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_hostile_answer_is_accepted_or_a_client_error(kind: str, count: int) -> None:
    results = fuzz(kind, count)
    assert results.total() == count
    assert results["BadAnswerError"]


if __name__ == "__main__":
    for each in KINDS:
        print(each, dict(fuzz(each, int(sys.argv[1]), seed=1)))  # noqa: T201 - its output
