"""Data sources: the bundled MNIST, IDX files, pictures, arrays, and TensorFlow Datasets."""

from kmnist.data.dataset import Dataset, Split
from kmnist.data.sources import load_dataset

__all__ = ["Dataset", "Split", "load_dataset"]
