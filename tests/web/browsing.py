"""The drawing page in headless Chromium, as a user operates it."""

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

__all__ = ["Page", "Pointer", "open_page"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
)
_SECONDS = 30  # timeout of every wait

Pointer = Literal["mouse", "touch", "pen"]


@contextmanager
def open_page(url: str, *flags: str) -> Iterator["Page"]:
    """Open ``url`` in a new browser with an empty profile; skip the test without Chromium.

    Args:
        url: The address of the page.
        flags: Further flags of the browser.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            yield Page(browser, url)
        finally:
            browser.quit()


class Page:
    """A browser window with the page."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        self.look(1280, 800)
        browser.get(url)

    def open(self, url: str) -> None:
        """Open a page and wait until it is ready to draw."""
        self.browser.get(url)
        self.wait_for("state", "Ready")

    def look(
        self,
        width: int,
        height: int,
        scheme: Literal["light", "dark"] = "light",
        *,
        forced: bool = False,
        scale: int = 1,
    ) -> None:
        """Set the size of the window, the colours of the system and the pixels per unit of CSS."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 720,
        )
        media = {
            "prefers-color-scheme": scheme,
            "forced-colors": "active" if forced else "none",
        }
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.command("Emulation.setEmulatedMedia", features=features)

    def draw(self, digit: int, pointer: Pointer = "mouse") -> None:
        """Draw a digit in addition to the current drawing."""
        for stroke in DIGITS[digit]:
            self.stroke(smooth(stroke), pointer)

    def stroke(
        self,
        points: list[tuple[float, float]],
        pointer: Pointer = "mouse",
        *,
        pressure: float | None = None,
    ) -> None:
        """Draw a stroke; the drawing area spans from (0, 0) to (1, 1)."""
        sheet = self.browser.find_element(By.ID, "sheet")
        side = sheet.rect["width"]
        untyped: Any = PointerInput  # selenium annotates only some functions
        hand = untyped(pointer, pointer)
        actions = ActionBuilder(self.browser, mouse=hand, duration=5)
        for number, (x, y) in enumerate(points):
            to = {"x": int((x - 0.5) * side), "y": int((y - 0.5) * side), "origin": sheet}
            hand.create_pointer_move(5, **to, pressure=pressure if number else None)
            if number == 0:
                hand.create_pointer_down(button=0, pressure=pressure)
        hand.create_pointer_up(button=0)
        actions.perform()

    def press(self, *keys: str) -> None:
        """Press keys together in the focused element."""
        actions = webdriver.ActionChains(self.browser, duration=0)
        for key in keys:
            actions.key_down(key)
        for key in reversed(keys):
            actions.key_up(key)
        actions.perform()

    def click(self, name: str) -> None:
        """Click the button with a name."""
        for button in self.browser.find_elements(By.TAG_NAME, "button"):
            if button.text == name:
                button.click()
                return
        raise AssertionError(f"there is no button {name!r}")

    def text(self, id: str) -> str:
        """Return the text of an element, visible or not."""
        return str(self.run(f"return document.getElementById('{id}').textContent")).strip()

    def wait_for(self, id: str, expected: str | Callable[[str], bool]) -> str:
        """Wait until an element has the text, or one that satisfies the condition; return it."""
        satisfies = expected if callable(expected) else lambda found: found == expected
        text = ""

        def check(_: object) -> bool:
            nonlocal text
            text = self.text(id)
            return satisfies(text)

        try:
            WebDriverWait(self.browser, _SECONDS, 0.05).until(check)
        except Exception as error:
            raise AssertionError(f"#{id} has the text {text!r}; expected {expected!r}") from error
        return text

    def prediction(self) -> str:
        """Wait for the prediction of the current drawing; return the name of the class."""
        is_current = """
            const { ariaBusy, classList } = document.getElementById("answer");
            return ariaBusy === "false" && !classList.contains("empty");
        """
        WebDriverWait(self.browser, _SECONDS, 0.02).until(lambda _: self.run(is_current))
        return self.text("winner")

    def bars(self) -> dict[str, str]:
        """Return the percentage of each class."""
        return dict(
            self.run("""
                const rows = [...document.querySelectorAll("#classes li")];
                const text = (row, name) => row.querySelector(name).textContent;
                return rows.map((row) => [text(row, ".name"), text(row, ".percent")]);
            """)
        )

    def ink(self) -> int:
        """Return the number of covered pixels of the drawing area."""
        return int(
            self.run("""
                const copy = new OffscreenCanvas(560, 560).getContext("2d");
                copy.drawImage(document.getElementById("sheet"), 0, 0, 560, 560);
                const { data } = copy.getImageData(0, 0, 560, 560);
                return data.filter((value, i) => i % 4 === 3 && value > 127).length;
            """)
        )

    def extent(self) -> list[int]:
        """Return the width and the height of the whole page."""
        width, height = (f"document.documentElement.scroll{side}" for side in ("Width", "Height"))
        extent: list[int] = self.run(f"return [{width}, {height}]")
        return extent

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script and return its result."""
        return self.browser.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """Run a script that may await, and return its result."""
        wrapped = "const done = arguments[arguments.length - 1];"
        wrapped += f"(async (...given) => {{ {script} }})(...arguments).then(done, (e) => done(String(e)));"
        return self.browser.execute_async_script(wrapped, *arguments)

    def command(self, name: str, **parameters: Any) -> Any:
        """Send a command of the Chrome DevTools Protocol."""
        return self.browser.execute_cdp_cmd(name, parameters)

    def logged_errors(self) -> list[str]:
        """Return what the browser has logged: exceptions and refused resources."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def violations(self) -> list[str]:
        """Return the accessibility violations that axe-core finds; skip the test without axe-core."""
        file = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
        if not file.is_file():
            pytest.skip(f"axe-core is not installed: no {file}; npm install --no-save axe-core")
        self.run(file.read_text("utf-8"))
        found = self.run_async("return (await axe.run()).violations")
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]
