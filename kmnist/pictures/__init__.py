"""Pictures: any PNG, JPEG, BMP or WebP file as an image like those of the data set."""

from typing import Final

__all__ = ["BRIGHTNESS"]

# The parts of red, green and blue in the brightness (ITU-R BT.601). Here, because conversions
# without TensorFlow need them too.
BRIGHTNESS: Final = (0.299, 0.587, 0.114)
