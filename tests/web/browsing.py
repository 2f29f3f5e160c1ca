"""The drawing page in headless Chromium, through the hands and the eyes of a person."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from selenium import webdriver
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.web.handwriting import DIGITS, smooth

__all__ = ["Page", "open_page"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SECONDS = 30  # until what should happen counts as not happening

Pointer = Literal["mouse", "touch", "pen"]


@contextmanager
def open_page(url: str) -> Iterator["Page"]:
    """A new browser, without a past, at ``url``. Skips the test where there is none."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            yield Page(browser, url)
        finally:
            browser.quit()


class Page:
    """The page as a person has it before them."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        self.look(1280, 800)
        browser.get(url)

    def look(self, width: int, height: int, scheme: Literal["light", "dark"] = "light") -> None:
        """Gives the window a size, and the system a colour scheme."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 720,
        )
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[scheme_feature])

    def draw(self, digit: int, pointer: Pointer = "mouse") -> None:
        """Writes a digit on the sheet, beside what is there."""
        for stroke in DIGITS[digit]:
            self.stroke(smooth(stroke), pointer)

    def stroke(
        self,
        points: list[tuple[float, float]],
        pointer: Pointer = "mouse",
        *,
        pressure: float | None = None,
    ) -> None:
        """One stroke through points of the sheet, which spans from (0, 0) to (1, 1)."""
        sheet = self.browser.find_element(By.ID, "sheet")
        side = sheet.rect["width"]
        hand: Any = PointerInput(pointer, pointer)
        actions = ActionBuilder(self.browser, mouse=hand, duration=5)
        for number, (x, y) in enumerate(points):
            to = {"x": int((x - 0.5) * side), "y": int((y - 0.5) * side), "origin": sheet}
            hand.create_pointer_move(5, **to, pressure=pressure if number else None)
            if number == 0:
                hand.create_pointer_down(button=0, pressure=pressure)
        hand.create_pointer_up(button=0)
        actions.perform()

    def press(self, *keys: str) -> None:
        """Presses keys together, wherever the focus is."""
        actions = webdriver.ActionChains(self.browser, duration=0)
        for key in keys:
            actions.key_down(key)
        for key in reversed(keys):
            actions.key_up(key)
        actions.perform()

    def click(self, name: str) -> None:
        """Clicks the button of that name."""
        for button in self.browser.find_elements(By.TAG_NAME, "button"):
            if button.text == name:
                button.click()
                return
        raise AssertionError(f"there is no button {name!r}")

    def text(self, id: str) -> str:
        """What an element says, seen or only spoken."""
        return str(self.run(f"return document.getElementById('{id}').textContent")).strip()

    def wait_for(self, id: str, expected: str | Callable[[str], bool]) -> str:
        """Waits until an element says the text, or one that satisfies."""
        satisfies = expected if callable(expected) else lambda text: text == expected
        said = "nothing"

        def check(_: object) -> bool:
            nonlocal said
            said = self.text(id)
            return satisfies(said)

        try:
            WebDriverWait(self.browser, _SECONDS, 0.05).until(check)
        except Exception as error:
            raise AssertionError(f"#{id} says {said!r}; expected {expected!r}") from error
        return said

    def answer(self) -> str:
        """The name of the class, once the page has the answer to what is drawn now."""
        answered = """
            const { ariaBusy, classList } = document.getElementById("answer");
            return ariaBusy === "false" && !classList.contains("empty");
        """
        WebDriverWait(self.browser, _SECONDS, 0.02).until(lambda _: self.run(answered))
        return self.text("winner")

    def bars(self) -> dict[str, str]:
        """The percentage at each class's name."""
        rows = self.browser.find_elements(By.CSS_SELECTOR, "#classes li")
        return {
            row.find_element(By.CLASS_NAME, "name").text: row.find_element(
                By.CLASS_NAME, "percent"
            ).text
            for row in rows
        }

    def ink(self) -> int:
        """How many pixels of the sheet are covered."""
        return int(
            self.run("""
                const copy = new OffscreenCanvas(560, 560).getContext("2d");
                copy.drawImage(document.getElementById("sheet"), 0, 0);
                const { data } = copy.getImageData(0, 0, 560, 560);
                return data.filter((value, i) => i % 4 === 3 && value > 127).length;
            """)
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """Runs a script that may await; what it returns."""
        wrapped = "const done = arguments[arguments.length - 1];"
        wrapped += f"(async (...given) => {{ {script} }})(...arguments).then(done, (e) => done(String(e)));"
        return self.browser.execute_async_script(wrapped, *arguments)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self.browser.execute_cdp_cmd(name, parameters)

    def complaints(self) -> list[str]:
        """What the browser had to complain about: faults, refused resources."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def violations(self) -> list[str]:
        """Where axe-core finds the page inaccessible. Skips the test where it is not installed."""
        modules = Path(__file__).parents[2] / "node_modules"
        file = Path(os.environ.get("AXE_CORE") or modules / "axe-core" / "axe.min.js")
        if not file.is_file():
            pytest.skip(f"axe-core is not installed: no {file}; npm install --no-save axe-core")
        self.run(file.read_text("utf-8"))
        found = self.run_async("return (await axe.run()).violations")
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]
