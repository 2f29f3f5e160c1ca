"""Draw an image in characters."""

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_bar", "draw_image"]

# From dark to bright.
_SHADES: Final = " ░▒▓█"
_ASCII_SHADES: Final = " .:*#"
_BAR: Final = 20


def draw_image(image: NDArray[np.uint8]) -> str:
    """Draw an image in five shades, two characters per pixel, which makes pixels about square.

    The shades are ASCII characters if the encoding of stdout is not UTF-8.

    Args:
        image: uint8 (height, width), 0 the darkest.

    Returns:
        One line per row of pixels, without the empty rows above and below.
    """
    rows = np.flatnonzero(image.any(axis=1))
    if len(rows):
        image = image[rows[0] : rows[-1] + 1]
    drawn = np.array(list(_shades()))[image.astype(np.int64) * len(_SHADES) // 256]
    return "\n".join("".join(np.repeat(row, 2)).rstrip() for row in drawn)


def draw_bar(share: float) -> str:
    """Draw a share from 0 to 1 as a bar of 20 characters."""
    filled = round(share * _BAR)
    return _shades()[-1] * filled + _shades()[1] * (_BAR - filled)


def _shades() -> str:
    return _SHADES if sys.stdout.encoding.lower().startswith("utf") else _ASCII_SHADES
