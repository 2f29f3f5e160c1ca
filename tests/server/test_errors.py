"""The error of the server."""

import pytest

from kmnist.server.errors import invalid, shortened


@pytest.mark.parametrize("character", ["a", "é", "\ud800"])
def test_a_long_message_fits_into_a_header(character: str) -> None:
    """gRPC writes each byte that is no ASCII as three, and clients accept 8 KiB."""
    assert 3 * len(invalid(character * 10_000).message.encode()) < 8192


def test_a_name_is_shortened_and_printable() -> None:
    assert shortened("a\nb\x1b[31m é") == "a b [31m é"
    assert shortened("n" * 101) == "n" * 100 + "..."
