"""What the page says of a server that is not there, not ready, slow, or of another mind."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.keys import Keys

from tests.web.browsing import Page, open_page
from tests.web.scripted import ScriptedServer, available, says

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
LINE = [(0.5, 0.2), (0.5, 0.8)]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_page("about:blank") as page:
        yield page


@pytest.fixture
def page(browser: Page, server: ScriptedServer) -> Page:
    browser.browser.get(server.url)
    browser.wait_for("state", "Ready")
    return browser


def _statuses(*versions: Any) -> Any:
    return 200, {"model_version_status": list(versions)}


def test_a_dead_server_is_told_and_the_page_recovers_with_the_answer(page, server) -> None:
    server.stop()
    page.stroke(LINE)
    page.wait_for("state", "The server cannot be reached. Trying again …")
    assert (page.text("winner"), page.text("certainty")) == ("–", "No answer yet")
    assert page.violations() == []
    server.start()
    assert page.answer() == "7"
    assert page.text("state") == "Ready"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (_statuses(available(1, "LOADING")), "Version 1 of the model is loading."),
        (
            _statuses(available(2, "END"), available(1, "END")),
            "The server has taken the model down.",
        ),
        (
            _statuses(available(3, "END", "Not found: no variables\n\t [[{{node x}}]]")),
            "Version 3 of the model could not be loaded: Not found: no variables.",
        ),
        (
            (404, {"error": "Could not find any versions of model kmnist"}),
            "The server has no model “kmnist”; the address of this page may name another: ?model=NAME.",
        ),
        ((429, {"error": "Too many requests"}), "The server has too much to do."),
        (
            (502, {"error": "The model server cannot be reached"}),
            "The model server cannot be reached; it may be starting.",
        ),
        ((500, {"error": "boom"}), "The server answered with an error, 500: boom."),
    ],
)
def test_a_server_that_is_not_ready_is_told_in_words(browser, server, status, words) -> None:
    ready, server.status = server.status, status
    browser.browser.get(server.url)
    browser.wait_for("state", f"{words} Trying again …")
    browser.stroke(LINE)
    assert browser.text("winner") == "–"
    server.status = ready
    assert browser.answer() == "7"
    assert browser.text("state") == "Ready"


def test_a_failed_answer_is_told_and_asked_for_again(page, server) -> None:
    answers, server.predict = server.predict, lambda _: (500, {"error": "out of memory"})
    page.stroke(LINE)
    page.wait_for("state", "The server answered with an error, 500: out of memory. Trying again …")
    server.predict = answers
    assert page.answer() == "7"


def test_what_the_server_refuses_is_told_until_something_else_is_drawn(page, server) -> None:
    refusal = {"error": "Picture 0, 3 bytes, is no PNG.\n\t [[{{node Assert}}]]"}
    answers, server.predict = server.predict, lambda _: (400, refusal)
    page.stroke([(0.5, 0.5)])
    page.wait_for("state", "The server refuses this: Picture 0, 3 bytes, is no PNG.")
    server.predict = answers
    page.stroke(LINE)
    assert page.answer() == "7"
    assert page.text("state") == "Ready"


def test_the_newest_drawing_wins_over_a_slow_answer(page, server) -> None:
    let_go = threading.Event()
    asked = []

    def slow_at_first(request: Any) -> Any:
        asked.append(request["inputs"]["pictures"][0]["b64"])
        if len(asked) == 1:
            let_go.wait(30)
            return says("0", [1.0] + [0.0] * 9)(request)
        return says("3", [0.0] * 3 + [1.0] + [0.0] * 6)(request)

    server.predict = slow_at_first
    page.run("""
        window.said = [];
        const state = document.getElementById("state");
        new MutationObserver(() => said.push(state.textContent)).observe(state, { childList: true });
    """)
    page.stroke(LINE)
    page.stroke([(0.2, 0.5), (0.8, 0.5)])
    assert page.answer() == "3"
    assert page.run("return said") == []  # it did not wait until the slow one counted as lost
    let_go.set()
    page.stroke([(0.2, 0.2), (0.8, 0.8)])
    assert page.answer() == "3"
    assert len(set(asked)) == len(asked)


def test_an_answer_to_what_was_cleared_is_dropped(page, server) -> None:
    asked, let_go, answered = threading.Event(), threading.Event(), threading.Event()
    answers = server.predict

    def slow(request: Any) -> Any:
        asked.set()
        let_go.wait(30)
        answered.set()
        return answers(request)

    server.predict = slow
    page.stroke([(0.5, 0.5)])
    assert asked.wait(30)
    page.press(Keys.ESCAPE)
    let_go.set()
    assert answered.wait(30)
    for _ in range(5):  # time for an answer to arrive that was not dropped
        page.run_async("await fetch('v1/models/kmnist')")
    assert page.text("winner") == "–"


def test_a_model_that_does_not_tell_its_classes_lets_them_be_learned(page, server) -> None:
    server.predict = says("Sandal", [0.1, 0.7, 0.2])
    page.stroke(LINE)
    assert page.answer() == "Sandal"
    assert page.bars() == {"0": "10%", "Sandal": "70%", "2": "20%"}
    assert page.text("certainty") == "70% sure, or 2 with 20%"
    assert not page.browser.find_element("id", "seen").is_displayed()
    server.predict = says("Boot", [0.1, 0.2, 0.7])
    page.stroke(LINE)
    page.wait_for("winner", "Boot")
    assert page.bars() == {"0": "10%", "Sandal": "20%", "Boot": "70%"}


def test_long_names_of_classes_come_from_the_model_and_fit_a_phone(browser, server) -> None:
    names = ["T-shirt/top", "Trouser", "Pullover", "Ankle boot"]
    size = {"tensor_shape": {"dim": [{"size": "-1"}, {"size": "4"}]}}
    server.signatures = {
        "serving_default": {"outputs": {"probabilities": size}},
        "classes": {},
        "explain": {},
    }
    image = [[0, 255], [128, 0]]

    def predict(request: Any) -> Any:
        if request["signature_name"] == "classes":
            assert request["inputs"] == {"class_ids": [0, 1, 2, 3]}
            weights = [[[0.5, -1.0], [0.0, 2.0]]] * 4
            return 200, {"outputs": {"class_names": names, "weights": weights}}
        assert request["signature_name"] == "explain"
        return says(names[3], [0.05, 0.05, 0.1, 0.8], images=[image])(request)

    server.predict = predict
    browser.look(320, 568)
    browser.browser.get(server.url)
    browser.wait_for("hint", "Draw here")
    browser.wait_for("state", "Ready")
    assert list(browser.bars()) == names
    browser.stroke(LINE)
    assert browser.answer() == "Ankle boot"
    assert browser.run("return document.documentElement.scrollWidth") == 320
    browser.look(1280, 800)


def test_the_address_may_name_another_model(browser, server) -> None:
    browser.browser.get(f"{server.url}/?model=fashion")
    browser.wait_for("state", lambda words: words.startswith("The server has no model “fashion”"))


def test_it_works_under_the_policy_of_nginx(browser, server) -> None:
    config = (ROOT / "serving" / "nginx" / "nginx.conf").read_text()
    server.csp = re.findall(r'add_header Content-Security-Policy "(.+?)"', config)[0]
    browser.complaints()
    browser.browser.get(server.url)
    browser.wait_for("state", "Ready")
    browser.stroke(LINE)
    assert browser.answer() == "7"
    assert browser.complaints() == []


def test_what_is_asked_is_a_picture_of_the_ink_on_nothing(page, server) -> None:
    asked = []
    answers = server.predict
    server.predict = lambda request: (asked.append(request), answers(request))[1]
    page.stroke([(0.5, 0.5)])
    assert page.answer() == "7"
    (request,) = asked
    assert request["signature_name"] == "pictures"
    (picture,) = request["inputs"]["pictures"]
    assert list(picture) == ["b64"]


def test_a_stroke_keeps_its_form_when_the_page_moves_under_the_pen(page) -> None:
    def mouse(kind: str, x: int) -> None:
        page.command("Input.dispatchMouseEvent", type=kind, x=x, y=350, button="left", buttons=1)

    mouse("mousePressed", 250)
    mouse("mouseMoved", 300)
    page.run("document.body.style.paddingTop = '60px'")
    mouse("mouseMoved", 350)
    mouse("mouseReleased", 350)
    covered = page.run("""
        const context = document.getElementById("sheet").getContext("2d");
        const { data } = context.getImageData(0, 0, 560, 560);
        return new Set([...data.keys()].filter((i) => i % 4 === 3 && data[i])
            .map((i) => Math.floor(i / (4 * 560)))).size;
    """)
    assert covered in range(30, 45)  # rows: as many as the pen is wide
