"""The error of the server."""

import grpc
import pytest
import tensorflow as tf

from kmnist.errors import KmnistError
from kmnist.server.errors import StatusError, from_tensorflow, invalid, one_line, shortened


def test_a_serving_error_is_an_error_of_the_package() -> None:
    error = invalid("no image")
    assert isinstance(error, KmnistError)
    assert str(error) == error.message == "no image"
    assert (error.code, error.http_status) == (grpc.StatusCode.INVALID_ARGUMENT, 400)


def test_the_http_status_may_differ_from_that_of_the_code() -> None:
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert StatusError(code, "").http_status == 429
    assert StatusError(code, "", http_status=413).http_status == 413


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"])
def test_every_code_has_an_http_status(code: grpc.StatusCode) -> None:
    assert 400 <= StatusError(code, "").http_status < 600


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (tf.errors.InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
        (tf.errors.DataLossError, grpc.StatusCode.DATA_LOSS),
        (tf.errors.OutOfRangeError, grpc.StatusCode.OUT_OF_RANGE),
        (tf.errors.NotFoundError, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_codes_of_tensorflow_are_those_of_grpc(
    error: type[Exception], code: grpc.StatusCode
) -> None:
    converted = from_tensorflow(error(None, None, "broken"))
    assert (converted.code, converted.message) == (code, "broken")


def test_one_line_replaces_control_characters() -> None:
    assert one_line("a\nb\x1b[31m\tc é") == "a b [31m c é"


@pytest.mark.parametrize("character", ["a", "é", "\ud800"])
def test_a_long_message_fits_into_a_header(character: str) -> None:
    """gRPC writes each byte that is no ASCII as three, and clients accept 8 KiB."""
    message = invalid(character * 10_000).message
    assert message.endswith("...")
    assert len(message.encode()) <= 2051
    assert 3 * len(message.encode()) < 8192


def test_a_long_name_is_cut_off() -> None:
    assert shortened("n" * 100) == "n" * 100
    assert shortened("n" * 101) == "n" * 100 + "..."
