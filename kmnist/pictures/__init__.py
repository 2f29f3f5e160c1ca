"""Pictures: any PNG, JPEG, BMP or WebP file as an image like those of the data set."""

from kmnist.pictures.extent import MNIST_EXTENT, background_tone, ink_extent
from kmnist.pictures.reading import read_pictures

__all__ = ["MNIST_EXTENT", "background_tone", "ink_extent", "read_pictures"]
