"""Requests of other web pages, and for other hosts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmnist.errors import InputError
from kmnist.server import Server
from kmnist.server.access import Access
from kmnist.server.errors import StatusError
from tests.server.calls import BODY, PREDICT, ask

FOREIGN = "https://other.example"


def refused(access: Access, **headers: str) -> bool:
    """Return whether a request with these headers is refused."""
    try:
        access.check(headers)
    except StatusError as error:
        return error.http_status == 403
    return False


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9000"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "kmnist.localhost:80"}, 200),
        ({"Host": "127.0.0.2"}, 200),
        ({"Host": "[::1]:8501"}, 200),
        ({"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8501"}, 200),
        ({"Host": "localhost", "Origin": "https://localhost"}, 200),
        ({"Host": "rebound.example:8501"}, 403),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 403),
        ({"Host": "10.0.0.1:8080"}, 200),
        ({"Host": "10.0.0.1.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": FOREIGN}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8080"}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": "null"}, 403),
        ({"Host": "127.0.0.1:8501", "Origin": ""}, 403),
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


def test_on_another_address_any_name_is_accepted_unless_names_are_given() -> None:
    access = Access("0.0.0.0", "0.0.0.0", (), ())
    assert not refused(access, Host="model.example")
    assert refused(access, Host="model.example", Origin=FOREIGN)
    access = Access("0.0.0.0", "0.0.0.0", (), ["Model.example"])
    assert not refused(access, Host="model.example:8501")
    assert not refused(access, Host="127.0.0.1")
    assert refused(access, Host="other.example")


def test_allowed_pages_may_ask_and_read(saved: Path) -> None:
    with Server(
        saved,
        rest_port=0,
        grpc_port=0,
        allow_origins=[FOREIGN.upper()],
        allow_hosts=["model.example"],
    ) as server:
        headers = {"Origin": FOREIGN, "Host": "model.example"}
        permission = ask(server, PREDICT, method="OPTIONS", headers=headers)
        assert (permission.status, permission.body) == (204, b"")
        assert permission.headers["Access-Control-Allow-Headers"] == "Content-Type"
        for path, status in ((PREDICT, 200), ("/v1/models/x:predict", 404)):
            answer = ask(server, path, BODY, headers=headers)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == FOREIGN
            assert answer.headers["Vary"] == "Origin"
        answer = ask(server, PREDICT, BODY, headers={"Origin": "https://third.example"})
        assert answer.status == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert ask(server, PREDICT, BODY, headers={"Host": "third.example"}).status == 403


def test_the_preflight_of_a_foreign_page_is_refused(server: Server) -> None:
    answer = ask(server, PREDICT, method="OPTIONS", headers={"Origin": FOREIGN})
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("origins", "hosts"),
    [
        (["other.example"], []),
        (["https://other.example/path"], []),
        (["*"], []),
        ([], ["other.example:80"]),
        ([], ["https://other.example"]),
        ([], [""]),
    ],
)
def test_other_forms_are_input_errors(saved: Path, origins: list[str], hosts: list[str]) -> None:
    with pytest.raises(InputError, match="as allowed origin or host; expected"):
        Server(saved, rest_port=0, grpc_port=0, allow_origins=origins, allow_hosts=hosts)
