"""Measure how a data set shows its objects: the extent of ink on black, the tone of a background.

Without TensorFlow, because what draws an image needs it too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["background_tone", "ink_extent", "rim"]


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
    ink = images[:5000] >= 32
    if np.quantile(1 - ink.mean((1, 2)), 0.05) <= 0.5:
        return None
    touched = [np.any(ink, axis) for axis in (2, 1)]  # rows and columns
    spans = [
        np.where(line.any(1), line.shape[1] - line[:, ::-1].argmax(1) - line.argmax(1), 0)
        for line in touched
    ]
    return float(np.median(np.maximum(*spans)) / min(images.shape[1:]))


def background_tone(images: NDArray[np.uint8]) -> float | None:
    """Measure the tone of the background of a data set.

    It is the median along the rim of an image, if that is within a tenth of the same tone in three of
    four images, as in Fashion-MNIST.

    Args:
        images: uint8 (n, height, width), n ≥ 1, the training images. The first 5,000 are measured.

    Returns:
        The tone, from 0 (black) to 1 (white); None if the images have no background in common.
    """
    tones = np.median(np.concatenate(rim(images[:5000]), axis=1), axis=1) / 255
    tone = float(np.median(tones))
    return tone if np.mean(np.abs(tones - tone) <= 0.1) >= 0.75 else None


def rim(images: Any) -> list[Any]:
    """Return the first and last row and column of images, (…, height, width) → (…, side) each."""
    return [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]]
