"""Finding the ink of a drawing."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.pictures.ink import find_ink
from tests.pictures.conftest import Read
from tests.pictures.kinds import encode


def ink_of(
    grey: NDArray[np.floating], alpha: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    opacity = np.ones(grey.shape) if alpha is None else alpha
    found: NDArray[np.float32] = find_ink(
        tf.constant(grey.astype(np.float32)), tf.constant(opacity.astype(np.float32))
    ).numpy()
    return found


def bar(paper: float, ink: float, width: int = 20) -> NDArray[np.float64]:
    """A vertical bar in the middle of a sheet."""
    sheet = np.full((200, 200), paper)
    sheet[50:150, 100 - width // 2 : 100 + width // 2] = ink
    return sheet


@pytest.mark.parametrize(("paper", "ink"), [(0.9, 0.1), (0.1, 0.9), (0.6, 0.4)])
def test_ink_is_found_on_light_and_dark_paper(paper: float, ink: float) -> None:
    found = ink_of(bar(paper, ink))
    rows, columns = np.nonzero(found > 0.5)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(0.2, abs=0.03)
    assert found.max() > 0.9
    assert found[0].max() == found[-1].max() == 0


@pytest.mark.parametrize("tone", [0.0, 0.5, 1.0])
def test_the_ink_of_a_transparent_canvas_is_its_opacity(tone: float) -> None:
    found = ink_of(np.full((200, 200), tone), alpha=bar(0, 1, 22))
    np.testing.assert_allclose(found, ink_of(bar(1, 0, 22)), atol=0.05)


def test_a_light_sheet_on_a_transparent_canvas_is_not_ink(
    sheet: NDArray[np.uint8], read: Read
) -> None:
    height, width = sheet.shape
    canvas = np.zeros((height + 80, width + 80, 4), np.uint8)
    canvas[40:-40, 40:-40] = np.dstack([sheet, sheet, sheet, np.full_like(sheet, 255)])
    image, expected = read(encode(canvas), encode(sheet)).astype(int)
    assert np.abs(image - expected).mean() < 5


def test_the_grain_of_an_empty_sheet_is_not_ink() -> None:
    grain = np.random.default_rng(0).normal(0.8, 0.02, (200, 200))
    assert ink_of(grain).max() == 0
    assert ink_of(grain - 0.6 * bar(0, 1)).max() > 0.9


def test_thin_strokes_are_widened() -> None:
    thin, wide = (ink_of(bar(0.9, 0.1, width)) > 0.5 for width in (2, 20))
    widths = [np.ptp(np.nonzero(mask)[1]) / np.ptp(np.nonzero(mask)[0]) for mask in (thin, wide)]
    assert widths[0] == pytest.approx(0.11, abs=0.04)
    assert widths[1] == pytest.approx(0.2, abs=0.03)


def test_an_edge_of_the_paper_is_not_part_of_the_drawing() -> None:
    sheet = bar(0.9, 0.1)
    sheet[:, :6] = 0.05
    np.testing.assert_allclose(ink_of(sheet), ink_of(bar(0.9, 0.1)), atol=0.1)
