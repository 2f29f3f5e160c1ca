"""An image drawn in characters, for a terminal."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_image"]

_SHADES = " ░▒▓█"


def draw_image(image: NDArray[np.uint8]) -> str:
    """Draws an image in five shades, two characters a pixel, so that pixels come out square.

    Args:
        image: uint8 (height, width), 0 the darkest.

    Returns:
        A line for each row between the first and the last that are not empty.
    """
    inked = np.flatnonzero(image.any(axis=1))
    if len(inked):
        image = image[inked[0] : inked[-1] + 1]
    shades = np.array(list(_SHADES))[image.astype(np.int64) * len(_SHADES) // 256]
    return "\n".join("".join(np.repeat(row, 2)).rstrip() for row in shades)
