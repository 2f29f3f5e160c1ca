"""Pages of other origins, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium")

from kmnist.server import Server
from tests.server.calls import BODY, PREDICT, ask
from tests.web.browsing import Page, open_page
from tests.web.scripted import ScriptedServer

pytestmark = pytest.mark.browser

POST = """
    const [url, body, type, mode] = given;
    const headers = { "Content-Type": type };
    const response = await fetch(url, { method: "POST", mode, headers, body });
    return [response.type, response.status];
"""
IMAGES = '{"instances": [[' + ",".join(["[" + ",".join("0" * 28) + "]"] * 28) + "]]}"


@pytest.fixture(scope="module")
def foreign() -> Iterator[ScriptedServer]:
    """The server of another page."""
    with ScriptedServer() as server:
        server.csp = "default-src * 'unsafe-inline'"  # the page itself forbids nothing
        yield server


@pytest.fixture(scope="module")
def page(foreign: ScriptedServer) -> Iterator[Page]:
    """The other page, in a browser that finds this machine under the name rebound.example, too."""
    with open_page(foreign.url, "--host-resolver-rules=MAP rebound.example 127.0.0.1") as page:
        yield page


def predictions(server: Server) -> float:
    """Return the number of predictions so far."""
    lines = ask(server, "/monitoring/prometheus/metrics").body.decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(":tensorflow:serving:request_count{")
    )


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """A server of the exported model."""
    with Server(models, rest_port=0, grpc_port=0, grace=1) as server:
        yield server


@pytest.mark.parametrize(
    ("media_type", "mode"),
    [("text/plain", "no-cors"), ("text/plain", "cors"), ("application/json", "cors")],
)
def test_a_foreign_page_reaches_no_prediction(
    page: Page, server: Server, media_type: str, mode: str
) -> None:
    before = predictions(server)
    result: Any = page.run_async(POST, server.rest_url + PREDICT, IMAGES, media_type, mode)
    if mode == "no-cors":
        # The browser has sent it without asking, and the answer tells the page nothing.
        assert result == ["opaque", 0] or "Failed to fetch" in result
    else:
        assert "Failed to fetch" in result
    assert predictions(server) == before
    assert ask(server, PREDICT, BODY).status == 200
    assert predictions(server) == before + 1


def test_a_page_whose_name_is_rebound_reaches_nothing(page: Page, server: Server) -> None:
    address = page.run("return location.href")
    try:
        page.browser.get(f"http://rebound.example:{server.rest_port}/v1/models/kmnist")
        text = page.run("return document.body.textContent")
        assert "the host 'rebound.example:" in text
        assert "is not a name of this server" in text
        assert "AVAILABLE" not in text
    finally:
        page.browser.get(address)


def test_the_page_of_the_server_gets_predictions(page: Page, server: Server) -> None:
    address = page.run("return location.href")
    try:
        page.browser.get(server.rest_url)
        page.wait_for("state", "Ready")
        result = page.run_async(POST, server.rest_url + PREDICT, IMAGES, "text/plain", "cors")
        assert result == ["basic", 200]
    finally:
        page.browser.get(address)
