"""Data sources: the bundled MNIST, folders of IDX files, and TensorFlow Datasets."""

from kmnist.data.datasets import Dataset, Split
from kmnist.data.sources import load_dataset

__all__ = ["Dataset", "Split", "load_dataset"]
