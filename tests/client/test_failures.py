"""Texts of servers and networks, and the errors for them."""

import pytest

from kmnist import errors
from kmnist.client.failures import brief, failure, not_reached, refused, tls_failed

CHAIN = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:8500: "


@pytest.mark.parametrize(
    ("code", "text", "error", "message"),
    [
        ("UNAVAILABLE", "queue is full", errors.OverloadedError, "queue is full; try again"),
        ("UNAVAILABLE", CHAIN + "Connection refused", errors.NotReachableError, "h: Connection re"),
        ("UNAVAILABLE", "Socket closed", errors.NotReachableError, "h: Socket closed"),
        ("UNAVAILABLE", "GOAWAY received", errors.NotReachableError, "GOAWAY"),
        ("UNAVAILABLE", "certificate has expired", errors.NotReachableError, "TLS handshake"),
        (413, "<html>", errors.RequestTooLargeError, "too large"),
        (502, "<html>", errors.NotReachableError, "a proxy could not reach the server"),
        (404, "Could not find version 9 of model m", errors.VersionNotFoundError, "version 9"),
        (404, "Could not find any versions of model m", errors.ModelNotFoundError, "model m"),
        (404, "Servable not found for request", errors.ModelNotFoundError, "no such model"),
        (400, "Unrecognized servable version label: a", errors.LabelNotFoundError, "label: a"),
        (400, '"a" not found in signature def', errors.SignatureNotFoundError, "lacks this sig"),
        (400, "Malformed request: GET /v1/x", errors.BadAnswerError, "check scheme, port and path"),
        (400, "JSON Parse error: x", errors.InvalidInputError, "JSON Parse error"),
        (401, "", errors.AccessDeniedError, "denied access: HTTP status 401"),
        ("FAILED_PRECONDITION", "Serving signature key", errors.SignatureNotFoundError, "key"),
        ("PERMISSION_DENIED", "no", errors.AccessDeniedError, "check the credentials in headers="),
        ("DEADLINE_EXCEEDED", "", errors.DeadlineExceededError, "from h in time"),
        ("UNIMPLEMENTED", "", errors.BadAnswerError, "not from TensorFlow Serving"),
        ("UNKNOWN", "invalid content-type: text/html", errors.BadAnswerError, "check scheme"),
        ("UNKNOWN", "broken", errors.ServerError, "the server failed (UNKNOWN): broken"),
        ("CANCELLED", "", errors.ServerError, "CANCELLED"),
        (599, "", errors.BadAnswerError, "unexpected HTTP status 599"),
    ],
)
def test_a_code_and_a_text_select_the_error(
    code: str | int, text: str, error: type[errors.ClientError], message: str
) -> None:
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
def test_only_temporary_failures_are_retryable(text: str, retryable: bool) -> None:
    assert failure("UNAVAILABLE", text).retryable == retryable


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", 400])
def test_the_servers_limit_is_part_of_the_error(code: str | int) -> None:
    found = failure(code, "Task size 200 is larger than maximum input batch size 100")
    assert isinstance(found, errors.RequestTooLargeError)
    assert found.limit == 100


def test_a_failed_check_in_the_graph_is_reported_without_tensorflows_context() -> None:
    text = "assertion failed: [Send a picture\\'s bytes.]\n\t [[{{node map/Assert}}]]"
    assert str(refused(text)) == "the model refused the input: Send a picture's bytes."
    assert refused(text).detail == text


def test_a_lost_connection_is_retryable_and_a_failed_handshake_is_not() -> None:
    assert not_reached("h: refused").retryable
    assert not_reached("h: refused").detail == "h: refused"
    assert not tls_failed("h: expired", "the full text").retryable
    assert tls_failed("h: expired", "the full text").detail == "the full text"


def test_long_texts_are_truncated() -> None:
    assert brief("a\n b" + "c" * 400) == "a b" + "c" * 296 + "…"
