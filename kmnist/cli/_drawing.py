"""Draw an image in characters."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_image"]

_SHADES: Final = " ░▒▓█"


def draw_image(image: NDArray[np.uint8]) -> str:
    """Draw an image in five shades, two characters per pixel, which makes pixels about square.

    Args:
        image: uint8 (height, width), 0 the darkest.

    Returns:
        One line per row of pixels, without the empty rows above and below.
    """
    rows = np.flatnonzero(image.any(axis=1))
    if len(rows):
        image = image[rows[0] : rows[-1] + 1]
    shades = np.array(list(_SHADES))[image.astype(np.int64) * len(_SHADES) // 256]
    return "\n".join("".join(np.repeat(row, 2)).rstrip() for row in shades)
