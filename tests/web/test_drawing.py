"""A person draws, in a real browser; a model trained on MNIST answers."""

import base64
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium", reason="needs selenium")

from selenium.webdriver.common.keys import Keys

from tests.web.browsing import Page, open_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]  # the first one trains


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four epochs on the bundled MNIST."""
    from kmnist import build_model, evaluate, export_model, load_dataset, train

    base = tmp_path_factory.mktemp("models") / "kmnist"
    run = train(build_model(), load_dataset(), epochs=4)
    export_model(run, evaluate(run.model, run.dataset.test), base)
    return base


@pytest.fixture(scope="module")
def server(base: Path) -> Any:
    from kmnist.server import Server

    with Server(base, rest_port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def browsed(server: Any) -> Any:
    with open_page(server.rest_url) as page:
        yield page


@pytest.fixture
def page(browsed: Page) -> Any:
    """The page, with nothing drawn; no complaint of the browser's afterwards."""
    browsed.wait_for("state", "Ready")
    browsed.press(Keys.ESCAPE)
    browsed.wait_for("winner", "–")
    yield browsed
    assert browsed.complaints() == []


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test image of MNIST, a seven, as a PNG file."""
    import tensorflow as tf

    from kmnist import load_dataset

    file = tmp_path_factory.mktemp("pictures") / "seven.png"
    image = load_dataset().test.images[0]
    file.write_bytes(tf.io.encode_png(np.kron(image, np.ones((8, 8), np.uint8))[..., None]).numpy())
    return file


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_the_ten_digits(page, pointer) -> None:
    page.look(*(1280, 800) if pointer == "mouse" else (360, 740))
    answers = {}
    for digit in range(10):
        page.press(Keys.ESCAPE)
        page.wait_for("winner", "–")
        page.draw(digit, pointer)
        answers[digit] = page.answer()
    page.look(1280, 800)
    right = Counter(answer == str(digit) for digit, answer in answers.items())
    assert right[True] >= 8, answers


def test_a_pen_draws_as_wide_as_it_is_pressed(page) -> None:
    page.stroke([(0.5, 0.2), (0.5, 0.8)], "pen", pressure=0.1)
    light = page.ink()
    page.press(Keys.ESCAPE)
    page.stroke([(0.5, 0.2), (0.5, 0.8)], "pen", pressure=0.9)
    assert page.ink() > 1.5 * light
    assert page.answer() == "1"


def test_bars_move_while_the_pen_is_down(page) -> None:
    page.stroke([(0.3, 0.2), (0.7, 0.2)])
    first = page.wait_for("certainty", lambda words: "sure" in words)
    assert page.bars().keys() == set("0123456789")
    page.stroke([(0.7, 0.2), (0.45, 0.85)])
    page.wait_for("certainty", lambda words: words != first)
    assert page.answer() == "7"
    assert page.wait_for("spoken", bool).startswith(f"7, {page.bars()['7']} sure")
    assert sum(int(share.rstrip("%")) for share in page.bars().values()) in range(95, 106)


def test_what_the_model_sees_and_its_weights_are_shown(page) -> None:
    page.draw(1)
    page.answer()
    painted = page.run("""
        return [...document.querySelectorAll("#seen, .weights")].map((canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size > 5];
        });
    """)
    assert painted == [[28, 28, True]] * 11


@pytest.mark.parametrize("by", ["button", "key"])
def test_undo_takes_back_one_stroke_and_clear_all_and_undo_brings_them_back(page, by) -> None:
    undo, clear = {
        "button": (lambda: page.click("Undo"), lambda: page.click("Clear")),
        "key": (lambda: page.press(Keys.CONTROL, "z"), lambda: page.press(Keys.ESCAPE)),
    }[by]
    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    one = page.ink()
    assert page.answer() == "1"
    page.stroke([(0.2, 0.5), (0.8, 0.5)])
    assert page.ink() > one
    undo()
    assert page.ink() == one
    assert page.answer() == "1"
    clear()
    assert (page.ink(), page.text("winner"), page.text("spoken")) == (0, "–", "")
    assert set(page.bars().values()) == {"0%"}
    undo()
    assert page.ink() == one
    assert page.answer() == "1"


def test_the_keys_alone_draw(page) -> None:
    page.browser.refresh()
    page.press(Keys.TAB)
    assert page.run("return document.activeElement.id") == "sheet"
    for _ in range(14):
        page.press(Keys.ARROW_UP)
    page.press(" ")
    for _ in range(28):
        page.press(Keys.ARROW_DOWN)
    page.press(" ")
    assert page.answer() == "1"
    ink = page.ink()
    page.press(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert page.ink() == ink


def test_every_control_is_reached_by_keyboard(page) -> None:
    page.browser.refresh()
    reached = []
    for _ in range(5):
        page.press(Keys.TAB)
        reached.append(
            page.run("return document.activeElement.id || document.activeElement.tagName")
        )
    assert reached == ["sheet", "undo", "clear", "open", "SUMMARY"]


def test_a_picture_is_picked(page, seven) -> None:
    page.browser.find_element("id", "file").send_keys(str(seven))
    assert page.answer() == "7"


def test_a_picture_is_dropped(page, seven) -> None:
    for event in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(seven)], "dragOperationsMask": 1}
        page.command("Input.dispatchDragEvent", type=event, x=300, y=300, data=data)
    assert page.answer() == "7"


def test_a_picture_is_pasted(page, seven) -> None:
    page.command(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
    )
    copied = page.run_async(
        """
        const bytes = Uint8Array.from(atob(given[0]), (character) => character.charCodeAt(0));
        const blob = new Blob([bytes], { type: "image/png" });
        await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        """,
        base64.b64encode(seven.read_bytes()).decode(),
    )
    assert copied is None
    page.press(Keys.CONTROL, "v")
    assert page.answer() == "7"


def test_ink_on_a_picture_is_a_new_drawing_and_undo_brings_the_picture_back(page, seven) -> None:
    page.browser.find_element("id", "file").send_keys(str(seven))
    assert page.answer() == "7"
    picture = page.ink()
    page.stroke([(0.5, 0.2), (0.5, 0.8)])
    assert page.answer() == "1"
    page.click("Undo")
    assert page.ink() == picture
    assert page.answer() == "7"


def test_what_is_no_picture_is_refused_in_words(page, tmp_path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("seven")
    page.browser.find_element("id", "file").send_keys(str(file))
    page.wait_for("state", "notes.txt is no picture that this browser can read.")
    page.draw(7)
    assert page.answer() == "7"
    assert page.text("state") == "Ready"


def test_version_and_latency_are_shown_and_a_new_version_is_taken_up(page, base) -> None:
    page.draw(3)
    page.answer()
    assert page.text("version") == "version 1"
    assert page.text("latency").removesuffix(" ms").isdigit()
    shutil.copytree(base / "1", base / "staged")
    (base / "staged").rename(base / "2")
    page.wait_for("version", "version 2")
    assert page.answer() == "3"


def test_nothing_is_asked_of_another_host(page, server) -> None:
    assert (
        page.run("""
        return performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin)
          .filter((origin) => origin !== location.origin);
    """)
        == []
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(320, 568), (360, 740), (1280, 800), (2560, 1440)])
def test_it_is_accessible_and_fits_the_window(page, size, scheme) -> None:
    page.look(*size, scheme)
    violations = page.violations()
    page.draw(5)
    page.answer()
    violations += page.violations()
    width = page.run("return document.documentElement.scrollWidth")
    page.look(1280, 800)
    assert violations == []
    assert width == size[0]
