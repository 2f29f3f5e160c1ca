"""Pages of other origins, in a real browser."""

import json
import re
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Another page, in a browser that finds this machine under the name rebound.example, too."""
    rebound = "--host-resolver-rules=MAP rebound.example 127.0.0.1"
    with ScriptedServer() as foreign:
        foreign.csp = "default-src * 'unsafe-inline'"  # the page itself forbids nothing
        with open_page(foreign.url, rebound) as page:
            yield page


def predictions(served: Server) -> float:
    """Return the number of predictions so far."""
    page = ask(served, "/monitoring/prometheus/metrics").body.decode()
    counts = re.findall(r"^:tensorflow:serving:request_count\{.*\} (.*)$", page, re.MULTILINE)
    return sum(map(float, counts))


@pytest.mark.parametrize(
    ("media_type", "mode"),
    [("text/plain", "no-cors"), ("text/plain", "cors"), ("application/json", "cors")],
)
def test_a_foreign_page_reaches_no_prediction(
    page: Page, served: Server, media_type: str, mode: str
) -> None:
    before = predictions(served)
    url, body = served.rest_url + PREDICT, json.dumps(BODY)
    result: Any = page.run_async(POST, url, body, media_type, mode)
    if mode == "no-cors":
        # The browser has sent it without asking; the page cannot read the answer.
        assert result == ["opaque", 0] or "Failed to fetch" in result
    else:
        assert "Failed to fetch" in result
    assert predictions(served) == before
    assert ask(served, PREDICT, BODY).status == 200
    assert predictions(served) == before + 1


def test_a_page_whose_name_is_rebound_reaches_nothing(page: Page, served: Server) -> None:
    page.browser.switch_to.new_window("tab")
    page.browser.get(f"http://rebound.example:{served.rest_port}/v1/models/kmnist")
    text = page.run("return document.body.textContent")
    assert "rebound.example" in text
    assert "AVAILABLE" not in text
    page.browser.close()
    page.browser.switch_to.window(page.browser.window_handles[0])
