"""Requests of other web pages, and for other hosts."""

from collections.abc import Mapping

import pytest

from kmnist.server import Server
from kmnist.server.access import Access
from kmnist.server.errors import StatusError
from tests.server.calls import BODY, PREDICT, ask

FOREIGN = "https://other.example"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "LOCALHOST.:9000"}, 200),
        ({"Host": "kmnist.localhost:80"}, 200),
        ({"Host": "[::1]:8501"}, 200),
        ({"Host": "localhost", "Origin": "https://localhost"}, 200),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 403),
        ({"Host": "10.0.0.1.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": FOREIGN}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": "null"}, 403),
    ],
)
def test_foreign_pages_and_names_are_refused_on_loopback(
    server: Server, headers: Mapping[str, str], status: int
) -> None:
    for path, body in ((PREDICT, BODY), ("/v1/models/kmnist", None), ("/", None)):
        answer = ask(server, path, body, headers=headers)
        assert answer.status == status
        if status == 403:
            assert answer.body.keys() == {"error"}


def test_on_another_address_any_name_is_accepted_but_no_foreign_page() -> None:
    access = Access("0.0.0.0", "0.0.0.0")
    access.check({"Host": "model.example"})
    with pytest.raises(StatusError, match="may not use this server"):
        access.check({"Host": "model.example", "Origin": FOREIGN})
