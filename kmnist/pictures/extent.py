"""The size of the ink in the images of a data set."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MNIST_EXTENT", "ink_extent"]

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


def _span(touched: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Return the length from the first to the last true of each row: bool (n, m) → int (n,)."""
    first, last = touched.argmax(1), touched.shape[1] - touched[:, ::-1].argmax(1)
    return np.asarray(np.where(touched.any(1), last - first, 0))
