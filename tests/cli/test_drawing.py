"""An image drawn in characters."""

import io
import re
import sys

import click
import numpy as np
import pytest

from kmnist.cli._drawing import draw_bar, draw_image


def test_five_shades_and_two_characters_per_pixel() -> None:
    image = np.array([[0, 60, 120, 180, 255], [255, 0, 0, 0, 0]], np.uint8)
    assert draw_image(image, is_ink=True) == "  ░░▒▒▓▓██\n██"


def test_shades_are_ascii_if_stdout_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert draw_image(np.array([[0, 60, 120, 180, 255]], np.uint8), is_ink=True) == "  ..::**##"
    assert draw_bar(0.25) == "#" * 5 + "." * 15


def test_a_bar_has_twenty_characters() -> None:
    assert draw_bar(0.25) == "█" * 5 + "░" * 15


def test_empty_rows_above_and_below_are_omitted() -> None:
    image = np.zeros((5, 3), np.uint8)
    image[2, 1] = 255
    assert draw_image(image, is_ink=True) == "  ██"


def test_an_empty_image_is_drawn_as_empty_lines() -> None:
    assert draw_image(np.zeros((2, 3), np.uint8), is_ink=True) == "\n"


def test_what_is_not_ink_has_its_own_tones_and_all_of_its_rows() -> None:
    drawn = draw_image(np.array([[0, 0], [0, 255]], np.uint8), is_ink=False)
    assert click.unstyle(drawn) == "    \n  ██"
    assert re.findall(r"48;5;(\d+)m", drawn) == ["232", "232", "232", "255"]
