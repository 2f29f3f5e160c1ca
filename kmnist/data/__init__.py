"""Image sources: the bundled MNIST, IDX files and TensorFlow Datasets, loaded as a :class:`Dataset`."""

from kmnist.data.datasets import Dataset, Split, load_dataset

__all__ = ["Dataset", "Split", "load_dataset"]
