"""What servers and networks say, and the errors it means."""

import pytest

from kmnist import errors
from kmnist.client.failures import brief, failure, refused

CHAIN = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:8500: "


@pytest.mark.parametrize(
    ("code", "text", "error", "message"),
    [
        ("UNAVAILABLE", "queue is full", errors.OverloadedError, "queue is full; try again"),
        ("UNAVAILABLE", CHAIN + "Connection refused", errors.NotReachableError, "h: Connection re"),
        ("UNAVAILABLE", "Socket closed", errors.NotReachableError, "h: Socket closed"),
        ("UNAVAILABLE", "GOAWAY received", errors.NotReachableError, "GOAWAY"),
        ("UNAVAILABLE", "certificate has expired", errors.NotReachableError, "TLS could not"),
        (413, "<html>", errors.RequestTooLargeError, "too large"),
        (502, "<html>", errors.NotReachableError, "a proxy could not reach the server"),
        (404, "Could not find version 9 of model m", errors.VersionNotFoundError, "version 9"),
        (404, "Could not find any versions of model m", errors.ModelNotFoundError, "model m"),
        (400, "Malformed request: GET /v1/x", errors.BadAnswerError, "check scheme, port and path"),
        (400, "JSON Parse error: x", errors.InvalidInputError, "JSON Parse error"),
        ("DEADLINE_EXCEEDED", "", errors.DeadlineExceededError, "from h in time"),
        ("CANCELLED", "", errors.ServerError, "CANCELLED"),
        (599, "", errors.BadAnswerError, "unexpected HTTP status 599"),
    ],
)
def test_failures(code, text, error, message) -> None:
    found = failure(code, text, "h")
    assert type(found) is error
    assert message in str(found)
    assert found.detail == text


@pytest.mark.parametrize(
    ("text", "retryable"),
    [
        ("Tls handshake failed: certificate has expired", False),
        ("Tls handshake failed: Socket closed", True),
        ("Hostname Verification Check failed.", False),
    ],
)
def test_only_what_can_pass_is_tried_again(text, retryable) -> None:
    assert failure("UNAVAILABLE", text).retryable == retryable


def test_a_limit_that_the_server_names_is_kept() -> None:
    text = "Task size 200 is larger than maximum input batch size 100"
    assert failure("INVALID_ARGUMENT", text).limit == 100
    assert failure(400, text).limit == 100


def test_what_a_model_asserts_is_told_without_the_trail_to_it() -> None:
    text = "assertion failed: [Send a picture\\'s bytes.]\n\t [[{{node map/Assert}}]]"
    assert str(refused(text)) == "the model refused the input: Send a picture's bytes."
    assert refused(text).detail == text


def test_long_texts_are_cut() -> None:
    assert brief("a\n b" + "c" * 400) == "a b" + "c" * 296 + "…"
