"""The size of the ink and the tone of the background in the images of a data set."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MNIST_EXTENT", "background_tone", "ink_extent"]

# MNIST's digits were scaled to a longer side of 20 pixels in images of 28 × 28 (Y. LeCun,
# C. Cortes, C. Burges, "The MNIST database of handwritten digits").
MNIST_EXTENT: Final = 20 / 28


def ink_extent(images: NDArray[np.uint8]) -> float | None:
    """Measure the size of the ink in a data set of ink on black.

    A data set counts as ink on black if more than half of the pixels are nearly black in 95 % of
    the images, as in MNIST.

    Args:
        images: uint8 (n, height, width), n ≥ 1, the training images. The first 5,000 are measured.

    Returns:
        The median longer side of the ink as a fraction of the shorter side of an image, 20/28 for
        MNIST; None if the data set is not ink on black.
    """
    images = images[:5000]
    ink = images >= 32
    black = 1 - ink.mean((1, 2))
    if np.quantile(black, 0.05) <= 0.5:
        return None
    heights, widths = (_span(np.any(ink, axis)) for axis in (2, 1))
    return float(np.median(np.maximum(heights, widths)) / min(images.shape[1:]))


def background_tone(images: NDArray[np.uint8]) -> float | None:
    """Measure the tone of the background of a data set.

    It is the median along the rim of an image, if that is within a tenth of the same tone in three of
    four images, as in Fashion-MNIST.

    Args:
        images: uint8 (n, height, width), n ≥ 1, the training images. The first 5,000 are measured.

    Returns:
        The tone, from 0 (black) to 1 (white); None if the images have no background in common.
    """
    images = images[:5000]
    sides = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    tones = np.median(np.concatenate(sides, axis=1), axis=1) / 255
    tone = float(np.median(tones))
    return tone if np.mean(np.abs(tones - tone) <= 0.1) >= 0.75 else None


def _span(touched: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Return the length from the first to the last true of each row: bool (n, m) → int (n,)."""
    first, last = touched.argmax(1), touched.shape[1] - touched[:, ::-1].argmax(1)
    return np.asarray(np.where(touched.any(1), last - first, 0))
