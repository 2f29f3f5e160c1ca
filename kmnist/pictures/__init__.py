"""Pictures: any PNG, JPEG, GIF, BMP or WebP file as an image like those of the data set."""

from kmnist.pictures.extent import MNIST_EXTENT, ink_extent
from kmnist.pictures.reading import read_pictures

__all__ = ["MNIST_EXTENT", "ink_extent", "read_pictures"]
