"""Headers of requests."""

import pytest

from kmnist.client import InvalidInputError
from kmnist.client.headers import check_headers


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
