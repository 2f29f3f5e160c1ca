"""Headers of requests."""

import pytest

from kmnist.client import InvalidInputError
from kmnist.client.headers import check_headers, redact


def test_header_names_are_in_lower_case() -> None:
    assert check_headers({"X-Key": "One"}) == {"x-key": "One"}


@pytest.mark.parametrize("name", ["", "a b", "ä", "a:b"])
def test_a_name_that_cannot_be_sent_is_an_error(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"header name '{name}'; expected letters"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["s3cret\n", "s3cret€", b"s3cret"])
def test_a_value_that_cannot_be_sent_is_an_error_without_it(value: str) -> None:
    with pytest.raises(InvalidInputError, match="a value of header 'a' that cannot be") as info:
        check_headers({"a": value})
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize(
    "name", ["Content-Length", "host", "transfer-encoding", "connection", "te", "grpc-x", "a-bin"]
)
def test_a_header_of_the_transport_is_an_error(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"header '{name}', which is reserved") as info:
        check_headers({name: "s3cret"})
    assert "s3cret" not in str(info.value)


@pytest.mark.parametrize("name", [":path", b"a", 3, None])
def test_a_name_that_is_no_header_is_an_error(name: str) -> None:
    with pytest.raises(InvalidInputError, match="received the header name"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    ("value", "text", "redacted"),
    [
        ("Bearer s3cret", "no: Bearer s3cret.", "no: [redacted]."),
        ("Bearer s3cret", "no: s3cret.", "no: [redacted]."),
        ("Bearer s3cret", "expected a Bearer token", "expected a Bearer token"),
        ("a: 's3 \\ cret'", repr("<a: 's3 \\ cret'>"), '"<[redacted]>"'),
        ("a  long  secret", "a long secret!", "[redacted]!"),
        ("a-long-secret", "no: a-long-s… (200)", "no: [redacted]… (200)"),
        ("abc", "an abc", "an abc"),
        ("", "nothing", "nothing"),
    ],
)
def test_the_value_of_a_header_is_removed_from_a_text(value: str, text: str, redacted: str) -> None:
    assert redact(text, [value]) == redacted
