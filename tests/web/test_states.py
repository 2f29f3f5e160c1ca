"""The page with a server that is down, not ready, slow, or refuses requests."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.web.browsing import Page, open_page
from tests.web.scripted import Answer, ScriptedServer, available, predicts

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
LINE = [(0.5, 0.2), (0.5, 0.8)]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server with the default responses."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A browser for all tests of the module."""
    with open_page("about:blank") as page:
        yield page


@pytest.fixture
def page(browser: Page, server: ScriptedServer) -> Page:
    """The page of the server, ready to draw."""
    browser.open(server.url)
    return browser


LONG = "Coat, woollen, double-breasted, with wide hood"
WEIGHTS_WIDTH = "return document.querySelectorAll('.weights')[9].getBoundingClientRect().width"


def show_classes(server: ScriptedServer, names: list[str], predicted: int = 0) -> None:
    """Let the model have these classes, and predict one of them for every picture."""
    size = {"tensor_shape": {"dim": [{"size": "-1"}, {"size": str(len(names))}]}}
    server.signatures = {
        "serving_default": {"outputs": {"probabilities": size}},
        "classes": {},
        "explain": {},
    }
    shares = [0.1 / len(names)] * len(names)
    shares[predicted] += 0.9

    def predict(request: Any) -> Answer:
        if request["signature_name"] == "classes":
            assert request["inputs"] == {"class_ids": list(range(len(names)))}
            weights = [[[0.5, -1.0], [0.0, 2.0]]] * len(names)
            return 200, {"outputs": {"class_names": names, "weights": weights}}
        assert request["signature_name"] == "explain"
        return predicts(names[predicted], shares, images=[[[0, 255], [128, 0]]])(request)

    server.predict = predict


def _statuses(*versions: Any) -> Answer:
    return 200, {"model_version_status": list(versions)}


def test_the_page_reports_a_server_that_is_down_and_recovers(
    page: Page, server: ScriptedServer
) -> None:
    server.stop()
    page.stroke(LINE)
    page.wait_for("state", "The server cannot be reached. Retrying …")
    assert (page.text("winner"), page.text("certainty")) == ("–", "No prediction yet")
    assert page.violations() == []
    server.start()
    assert page.prediction() == "7"
    assert page.text("state") == "Ready"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (_statuses(available(1, "LOADING")), "Version 1 of the model is loading."),
        (_statuses(available(2, "END")), "The server has unloaded the model."),
        (
            _statuses(available(3, "END", "Not found: no variables\n\t [[{{node x}}]]")),
            "Version 3 of the model could not be loaded: Not found: no variables.",
        ),
        (
            (404, {"error": "Could not find any versions of model kmnist"}),
            "The server has no model “kmnist”. Add ?model=NAME to the address of this page.",
        ),
        ((429, {"error": "Too many requests"}), "The server is overloaded."),
        (
            (502, {"error": "The model server cannot be reached"}),
            "The model server cannot be reached. It may be starting.",
        ),
        ((500, {"error": "boom"}), "The server reported error 500: boom."),
    ],
)
def test_the_page_reports_a_server_that_is_not_ready(
    browser: Page, server: ScriptedServer, status: Answer, message: str
) -> None:
    ready, server.status = server.status, status
    browser.browser.get(server.url)
    browser.wait_for("state", f"{message} Retrying …")
    browser.stroke(LINE)
    assert browser.text("winner") == "–"
    server.status = ready
    assert browser.prediction() == "7"
    assert browser.text("state") == "Ready"


def test_a_failed_request_is_reported_and_repeated(page: Page, server: ScriptedServer) -> None:
    predict, server.predict = server.predict, lambda _: (500, {"error": "out of memory"})
    page.stroke(LINE)
    page.wait_for("state", "The server reported error 500: out of memory. Retrying …")
    server.predict = predict
    assert page.prediction() == "7"


def test_a_refusal_is_reported_until_a_new_stroke(page: Page, server: ScriptedServer) -> None:
    refusal = {"error": "Picture 0, 3 bytes, is no PNG.\n\t [[{{node Assert}}]]"}
    predict, server.predict = server.predict, lambda _: (400, refusal)
    page.stroke([(0.5, 0.4), (0.5, 0.6)])
    page.wait_for("state", "The server refused the request: Picture 0, 3 bytes, is no PNG.")
    server.predict = predict
    page.stroke(LINE)
    assert page.prediction() == "7"
    assert page.text("state") == "Ready"


def test_the_newest_drawing_replaces_a_slow_request(page: Page, server: ScriptedServer) -> None:
    release = threading.Event()
    requested: list[str] = []

    def slow_at_first(request: Any) -> Answer:
        requested.append(request["inputs"]["pictures"][0]["b64"])
        if len(requested) == 1:
            release.wait(30)
            return predicts("0", [1.0] + [0.0] * 9)(request)
        return predicts("3", [0.0] * 3 + [1.0] + [0.0] * 6)(request)

    server.predict = slow_at_first
    page.stroke(LINE)
    page.stroke([(0.2, 0.5), (0.8, 0.5)])
    assert page.prediction() == "3"
    release.set()
    page.stroke([(0.2, 0.2), (0.8, 0.8)])
    assert page.prediction() == "3"
    assert len(set(requested)) == len(requested)


def test_the_answer_for_a_cleared_drawing_is_dropped(page: Page, server: ScriptedServer) -> None:
    requested, release, answered = threading.Event(), threading.Event(), threading.Event()

    def slow(request: Any) -> Answer:
        requested.set()
        release.wait(30)
        answered.set()
        return predicts("7", [0.1] * 10)(request)

    server.predict = slow
    page.stroke(LINE)
    assert requested.wait(30)
    page.press(Keys.ESCAPE)
    release.set()
    assert answered.wait(30)
    for _ in range(5):  # time for the prediction to arrive if it is not dropped
        page.run_async("await fetch('v1/models/kmnist')")
    assert page.text("winner") == "–"


def test_names_of_classes_are_learned_from_predictions(page: Page, server: ScriptedServer) -> None:
    server.predict = predicts("Sandal", [0.1, 0.7, 0.2])
    page.stroke(LINE)
    assert page.prediction() == "Sandal"
    assert page.bars() == {"0": "10%", "Sandal": "70%", "2": "20%"}
    assert page.text("certainty") == "70% sure, or 2 with 20%"
    assert not page.browser.find_element("id", "seen").is_displayed()
    server.predict = predicts("Boot", [0.1, 0.2, 0.7])
    page.stroke(LINE)
    page.wait_for("winner", "Boot")
    assert page.bars() == {"0": "10%", "Sandal": "20%", "Boot": "70%"}


def test_a_dot_is_too_small_and_100_percent_means_it(page: Page, server: ScriptedServer) -> None:
    predict, server.predict = server.predict, lambda _: (500, {"error": "a dot was sent"})
    page.stroke([(0.5, 0.5)])
    assert page.wait_for("spoken", bool) == "Too small: draw larger"
    assert (page.text("winner"), page.text("state")) == ("–", "Ready")
    server.predict = predicts("7", [0.0] * 7 + [0.9994, 0.0006, 0.0])
    page.stroke(LINE)
    page.wait_for("certainty", ">99% sure")
    server.predict = predict
    page.stroke(LINE)
    page.wait_for("certainty", "100% sure")


@pytest.mark.parametrize(
    "size", [(320, 568), (360, 640), (390, 844), (740, 360), (760, 1000), (1280, 757)]
)
def test_names_of_classes_fit_the_window(
    browser: Page, server: ScriptedServer, size: tuple[int, int]
) -> None:
    names = ["T-shirt/top", "Sandal", "Ankle boot", LONG]
    browser.look(*size)
    for number, name in enumerate(names):
        show_classes(server, names, number)
        browser.open(server.url)
        browser.wait_for("invitation", "Draw one of 4 classes")
        assert list(browser.bars()) == names
        browser.stroke(LINE)
        assert browser.prediction() == name
        assert browser.extent()[0] <= size[0]
        lines = """
            const range = document.createRange();
            range.selectNodeContents(document.getElementById("winner"));
            return range.getClientRects().length;
        """
        assert " " in name or browser.run(lines) == 1
    for row in browser.browser.find_elements("css selector", "#classes li"):
        label, track = (row.find_element("class name", part) for part in ("name", "track"))
        assert label.get_attribute("title") == label.get_property("textContent")
        assert label.rect["x"] + label.rect["width"] < track.rect["x"]
        assert track.rect["width"] >= 48
    for part in ("winner", "certainty", "seen", "undo", "redo", "clear") if size[1] != 568 else ():
        rect = browser.browser.find_element("id", part).rect
        assert rect["y"] + rect["height"] <= size[1]
    browser.look(1280, 800)


@pytest.mark.parametrize("way", ["hover", "focus", "tap"])
def test_the_weights_of_a_class_are_enlarged(
    browser: Page, server: ScriptedServer, way: str
) -> None:
    show_classes(server, list("0123456789"))
    browser.open(server.url)
    browser.stroke(LINE)
    browser.prediction()
    small = browser.run(WEIGHTS_WIDTH)
    canvas = browser.browser.find_elements("css selector", ".weights")[9]
    assert canvas.accessible_name == "Weights of 9"
    if way == "hover":
        ActionChains(browser.browser).move_to_element(canvas).perform()
    elif way == "focus":
        browser.run("document.querySelectorAll('.weights')[9].focus()")
    else:
        name = browser.browser.find_elements("class name", "name")[9].rect
        touch = [{"x": name["x"] + 5, "y": name["y"] + 5}]
        browser.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
        browser.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    WebDriverWait(browser.browser, 30).until(
        lambda _: browser.run(WEIGHTS_WIDTH) == pytest.approx(5 * small)
    )
    assert browser.extent() == [1280, 800]
    # Of [[0, 255], [128, 0]] and [[0.5, -1], [0, 2]].
    assert browser.text("caption") == "Ink × weight: −1.0"
    red, _, blue, _ = browser.run("return seen.getContext('2d').getImageData(1, 0, 1, 1).data")
    assert red > blue


def test_a_network_is_shown_without_weights(browser: Page, server: ScriptedServer) -> None:
    server.signatures = {"explain": {}}
    shares = [0.1, 0.9, *[0.0] * 8]
    server.predict = predicts("1", shares, images=[[[0, 255], [128, 0]]])
    browser.open(server.url)
    browser.stroke(LINE)
    assert browser.prediction() == "1"
    assert browser.bars().keys() == set("0123456789")
    assert browser.browser.find_element("id", "seen").is_displayed()
    assert not browser.browser.find_element("id", "legend").is_displayed()
    assert browser.browser.find_elements("class name", "weights") == []


@pytest.mark.parametrize(
    ("model", "query", "state"),
    [
        ("fashion", "", "The server has no model “fashion”"),
        ("kmnist", "?model=fashion", "The server has no model “fashion”"),
        (None, "", "Ready"),
    ],
)
def test_the_model_is_that_of_the_address_the_server_or_kmnist(
    browser: Page, server: ScriptedServer, model: str | None, query: str, state: str
) -> None:
    server.model = model
    browser.browser.get(server.url + query)
    browser.wait_for("state", lambda text: text.startswith(state))
    browser.logged_errors()  # a file that does not exist is logged


def test_the_page_works_with_the_content_security_policy_of_nginx(
    browser: Page, server: ScriptedServer
) -> None:
    config = (ROOT / "serving" / "nginx" / "nginx.conf").read_text()
    [server.csp] = re.findall(r'add_header Content-Security-Policy "(.+?)"', config)
    browser.logged_errors()
    browser.open(server.url)
    browser.stroke(LINE)
    assert browser.prediction() == "7"
    assert browser.logged_errors() == []


def test_the_page_is_korean_in_a_korean_browser(server: ScriptedServer) -> None:
    show_classes(server, list("0123456789"))
    with open_page(server.url, "--lang=ko", "--accept-lang=ko") as page:
        page.wait_for("state", "준비됨")
        page.stroke(LINE)
        page.wait_for("certainty", "91% 확신")
        shown = """
            const labels = [...document.querySelectorAll("[aria-label]")].map((each) => each.ariaLabel);
            return [document.title, document.body.textContent, ...labels].join(" ");
        """
        # Keys, and what the code has, too.
        known = {"Ctrl", "Esc", "Dense", "kmnist", "ms"}
        page.run("document.querySelector('noscript').remove()")
        assert set(re.findall("[A-Za-z]{2,}", page.run(shown))) <= known
        assert page.run("return document.documentElement.lang") == "ko"
        tables = """
            const { TEXTS } = await import("/texts.js");
            const shape = (value) => [typeof value, value.length * (typeof value === "function"),
                (String(value).match(/{\\d}/g) ?? []).sort()];
            return Object.values(TEXTS).map((table) =>
                Object.entries(table).map(([key, value]) => [key, ...shape(value)]));
        """
        english, korean = page.run_async(tables)
        assert english == korean


def test_a_stroke_keeps_its_shape_when_the_page_moves_under_the_pen(page: Page) -> None:
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
    assert covered in range(30, 45)  # rows: the width of the pen
