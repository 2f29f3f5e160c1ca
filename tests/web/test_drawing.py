"""Drawing in a real browser, with the predictions of a model trained on MNIST."""

import base64
import io
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from PIL import Image

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.keys import Keys

from kmnist.server import Server
from tests.web.browsing import Page, Pointer, open_page

SEVEN: Final = Path(__file__).parents[2] / "examples" / "seven.png"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]  # the first test trains


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for four epochs on the bundled MNIST."""
    from kmnist import build_model, export_model, load_dataset, train

    base = tmp_path_factory.mktemp("models") / "kmnist"
    run = train(build_model(), load_dataset(), epochs=4)
    export_model(run.model, run.dataset, base, run=run)
    return base


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Server]:
    """A server of the model."""
    with Server(base, rest_port=0, grpc_port=0, poll_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def browsed(server: Server) -> Iterator[Page]:
    """The page of the server in a browser for all tests of the module."""
    with open_page(server.rest_url) as page:
        yield page


@pytest.fixture
def page(browsed: Page) -> Iterator[Page]:
    """The page with nothing drawn; after the test, the browser must have logged no error."""
    browsed.wait_for("state", "Ready")
    browsed.press(Keys.ESCAPE)
    browsed.wait_for("winner", "–")
    yield browsed
    assert browsed.logged_errors() == []


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_the_ten_digits_are_recognized(page: Page, pointer: Pointer) -> None:
    scale = 1 if pointer == "mouse" else 3
    page.look(*(1280, 800) if pointer == "mouse" else (360, 740), scale=scale)
    page.browser.refresh()
    page.wait_for("state", "Ready")
    predictions = {}
    for digit in range(10):
        page.press(Keys.ESCAPE)
        page.wait_for("winner", "–")
        page.draw(digit, pointer)
        predictions[digit] = page.prediction()
    assert page.run("return sheet.width / sheet.clientWidth") == scale  # as sharp as the device
    page.look(1280, 800)
    correct = Counter(name == str(digit) for digit, name in predictions.items())
    assert correct[True] >= 8, predictions


def test_the_pressure_of_a_pen_sets_the_width_of_its_line(page: Page) -> None:
    page.stroke([(0.5, 0.2), (0.5, 0.8)], "pen", pressure=0.1)
    light = page.ink()
    page.press(Keys.ESCAPE)
    page.stroke([(0.5, 0.2), (0.5, 0.8)], "pen", pressure=0.9)
    assert page.ink() > 1.5 * light
    assert page.prediction() == "1"


def test_the_prediction_follows_the_drawing(page: Page) -> None:
    page.stroke([(0.3, 0.2), (0.7, 0.2)])
    first = page.wait_for("certainty", lambda text: "sure" in text)
    assert page.bars().keys() == set("0123456789")
    page.stroke([(0.7, 0.2), (0.45, 0.85)])
    page.wait_for("certainty", lambda text: text != first)
    assert page.prediction() == "7"
    assert page.wait_for("spoken", bool).startswith(f"7, {page.bars()['7']} sure")
    assert sum(int(share.strip(">%")) for share in page.bars().values()) in range(95, 106)


def test_the_received_image_and_the_weights_are_shown(page: Page) -> None:
    page.draw(1)
    page.prediction()
    painted = page.run("""
        return [...document.querySelectorAll("#seen, .weights")].map((canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size > 5];
        });
    """)
    assert painted == [[28, 28, True]] * 11


@pytest.mark.parametrize("redo_keys", [(), (Keys.SHIFT, "z"), ("y",)])
def test_undo_removes_one_stroke_and_restores_a_cleared_drawing(
    page: Page, redo_keys: tuple[str, ...]
) -> None:
    def undo() -> None:
        page.press(Keys.CONTROL, "z") if redo_keys else page.click("Undo")

    def redo() -> None:
        page.press(Keys.CONTROL, *redo_keys) if redo_keys else page.click("Redo")

    def clear() -> None:
        page.press(Keys.ESCAPE) if redo_keys else page.click("Clear")

    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    one = page.ink()
    assert page.prediction() == "1"
    page.stroke([(0.2, 0.5), (0.8, 0.5)])
    assert page.ink() > one
    two = page.ink()
    undo()
    assert page.ink() == one
    redo()
    assert page.ink() == two
    undo()
    assert page.ink() == one
    assert page.prediction() == "1"
    clear()
    assert (page.ink(), page.text("winner"), page.text("spoken")) == (0, "–", "")
    assert set(page.bars().values()) == {"0%"}
    undo()
    assert page.ink() == one
    assert page.prediction() == "1"


def test_the_keyboard_alone_suffices_to_draw(page: Page) -> None:
    page.browser.refresh()
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.id") == "sheet"
    for _ in range(14):
        page.press(Keys.ARROW_UP)
    page.press(" ")
    for _ in range(28):
        page.press(Keys.ARROW_DOWN)
    page.press(" ")
    assert page.prediction() == "1"
    ink = page.ink()
    page.press(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert page.ink() == ink


def test_every_control_is_reachable_by_keyboard(page: Page) -> None:
    page.browser.refresh()
    page.wait_for("state", "Ready")
    focused, reached = "return document.activeElement.id || document.activeElement.tagName", []
    for _ in range(12):
        page.press(Keys.TAB)
        reached.append(page.run(focused))
    tools = ["undo", "redo", "clear", "open"]
    assert reached == ["sheet", *["BUTTON"] * 5, *tools, "CANVAS", "SUMMARY"]
    page.press(Keys.SHIFT, Keys.TAB)
    for key, name in ((Keys.ARROW_DOWN, "1"), (Keys.END, "9"), (Keys.ARROW_UP, "8")):
        page.press(key)
        assert page.run("return document.activeElement.ariaLabel") == f"Weights of {name}"
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    [sheet] = [node for node in nodes if node.get("name", {}).get("value") == "Drawing area"]
    assert sheet["description"]["value"].startswith("In the drawing area, Space lowers and lifts")


def test_examples_can_be_tapped(page: Page) -> None:
    examples = page.browser.find_elements("css selector", "#examples img")
    for example in examples:
        example.click()
        assert page.prediction() == example.get_attribute("alt")
        assert not page.run("return sheet.getContext('2d').imageSmoothingEnabled")
        page.press(Keys.ESCAPE)
        page.wait_for("winner", "–")
    assert len(examples) == 5


def test_a_picture_can_be_dropped(page: Page) -> None:
    for event in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(SEVEN)], "dragOperationsMask": 1}
        page.command("Input.dispatchDragEvent", type=event, x=300, y=300, data=data)
    assert page.prediction() == "7"


def test_a_picture_can_be_pasted(page: Page) -> None:
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.command("Browser.grantPermissions", permissions=permissions)
    copy = """
        const bytes = Uint8Array.from(atob(given[0]), (character) => character.charCodeAt(0));
        const blob = new Blob([bytes], { type: "image/png" });
        await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    """
    assert page.run_async(copy, base64.b64encode(SEVEN.read_bytes()).decode()) is None
    page.press(Keys.CONTROL, "v")
    assert page.prediction() == "7"


def test_a_picture_can_be_chosen_and_ink_on_it_starts_a_drawing_that_undo_takes_back(
    page: Page,
) -> None:
    page.browser.find_element("id", "file").send_keys(str(SEVEN))
    assert page.prediction() == "7"
    picture = page.ink()
    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    assert page.prediction() == "1"
    page.click("Undo")
    assert page.ink() == picture
    assert page.prediction() == "7"


def test_a_file_that_is_not_a_picture_is_refused_with_a_message(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("seven")
    page.draw(1)
    assert page.prediction() == "1"
    colour = "return getComputedStyle(document.getElementById('winner')).color"
    valid = page.run(colour)
    page.browser.find_element("id", "file").send_keys(str(file))
    page.wait_for("state", "notes.txt is not a picture that this browser can read.")
    assert page.run(colour) == valid
    page.press(Keys.ESCAPE)
    page.draw(7)
    assert page.prediction() == "7"
    assert page.text("state") == "Ready"


def test_version_and_latency_are_shown_and_a_new_version_is_used(page: Page, base: Path) -> None:
    page.draw(3)
    page.prediction()
    assert page.text("version") == "version 1"
    assert page.text("latency").removesuffix(" ms").isdigit()
    shutil.copytree(base / "1", base / "staged")
    (base / "staged").rename(base / "2")
    page.wait_for("version", "version 2")
    assert page.prediction() == "3"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(320, 568), (360, 740), (1024, 700), (1366, 757), (2560, 1440)])
def test_the_page_is_accessible_and_fits_the_window(
    page: Page, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    page.look(*size, scheme)
    violations = page.violations()
    page.draw(5)
    page.prediction()
    violations += page.violations()
    width, height = page.extent()
    page.look(1280, 800)
    assert violations == []
    assert width == size[0]
    assert height == size[1] or size[0] < 720  # a phone scrolls


def test_forced_colours_keep_bars_state_and_images(page: Page) -> None:
    def colours(selector: str) -> set[Any]:
        shot = page.browser.find_element("css selector", selector).screenshot_as_png
        counted = Image.open(io.BytesIO(shot)).convert("RGB").getcolors(1_000_000) or []
        return {colour for _, colour in counted}

    page.draw(5)
    winner = page.prediction()
    page.look(1280, 800, forced=True)
    for selector in ("#state", ".winner .track", f"[aria-label='Weights of {winner}']"):
        assert max(max(colour) - min(colour) for colour in colours(selector)) > 40, selector
    assert {(0, 0, 0), (255, 255, 255)} <= colours("#seen")
    page.look(1280, 800)
