"""Draw an image in characters."""

import sys
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_bar", "draw_image"]

# From dark to bright.
_SHADES: Final = " ░▒▓█"
_ASCII_SHADES: Final = " .:*#"
_BAR: Final = 20

# Of the 256 colours of a terminal, these are grey, from dark to bright.
_GREYS: Final = range(232, 256)


def draw_image(image: NDArray[np.uint8], *, is_ink: bool) -> str:
    """Draw an image in five shades, two characters per pixel, which makes pixels about square.

    The shades are ASCII characters if the encoding of stdout is not UTF-8. They are the colour of
    the terminal's text, dark on light or light on dark. Ink may be either, but clothes would be
    negatives: they get their own tones, which ``click.echo`` leaves out where there are no colours.

    Args:
        image: uint8 (height, width), 0 the darkest.
        is_ink: Whether it is of a data set of ink on black.

    Returns:
        One line per row of pixels; of ink, without the empty rows above and below.
    """
    if is_ink and len(rows := np.flatnonzero(image.any(axis=1))):
        image = image[rows[0] : rows[-1] + 1]
    levels = image.astype(np.int64)
    shades = np.array(list(_shades()))[levels * len(_SHADES) // 256].tolist()
    if is_ink:
        return "\n".join("".join(shade * 2 for shade in row).rstrip() for row in shades)
    greys = np.array(_GREYS)[levels * len(_GREYS) // 256].tolist()
    return "\n".join(
        "".join(click.style(shade * 2, fg=grey, bg=grey) for shade, grey in zip(*row, strict=True))
        for row in zip(shades, greys, strict=True)
    )


def draw_bar(share: float) -> str:
    """Draw a share from 0 to 1 as a bar of 20 characters."""
    filled = round(share * _BAR)
    return _shades()[-1] * filled + _shades()[1] * (_BAR - filled)


def _shades() -> str:
    return _SHADES if sys.stdout.encoding.lower().startswith("utf") else _ASCII_SHADES
