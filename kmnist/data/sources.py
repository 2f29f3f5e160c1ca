"""Load a data set from the source that its name refers to."""

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from kmnist.data.datasets import Dataset
from kmnist.data.idx_folder import is_idx_folder, read_idx_folder
from kmnist.data.tfds import read_tfds
from kmnist.defaults import VALIDATION_SIZE
from kmnist.errors import InputError, MissingError

__all__ = ["load_dataset"]


def load_dataset(
    source: str | os.PathLike[str] = "mnist",
    *,
    validation_size: int = VALIDATION_SIZE,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a data set of grey images.

    Args:
        source: One of:

            * ``"mnist"``: the bundled files.
            * A folder of the four IDX files ``train-images-idx3-ubyte``,
              ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
              ``t10k-labels-idx1-ubyte``, each raw or ``.gz``. An optional ``classes.txt`` names
              the classes, one a line.
            * Any other name: a TFDS data set such as ``"fashion_mnist"``; ``"tfds:mnist"`` reads
              MNIST itself from TFDS.
        validation_size: The number of training images, from the first, to hold out for validation.
        data_dir: The folder of prepared TFDS data sets; None for TFDS's default.

    Returns:
        The data set, with images uint8 (n, height, width).

    Raises:
        InputError: A file is damaged or does not match the others, a label is out of range, the
            TFDS data set does not hold grey images with labels, or ``validation_size`` leaves no
            image to train on.
        MissingError: The folder or one of its files does not exist, or TFDS has no data set of
            that name or cannot download it.

    Example:
        With a folder ``digits`` of 500 training and 200 test images:

        >>> dataset = load_dataset("digits", validation_size=100)
        >>> len(dataset.train), len(dataset.validation), len(dataset.test)
        (400, 100, 200)
        >>> dataset.train.images.shape, dataset.train.images.dtype
        ((400, 28, 28), dtype('uint8'))
    """
    dataset = _read(os.fspath(source), data_dir)
    train = dataset.train
    if not 0 <= validation_size < len(train):
        raise InputError(
            f"received a validation size of {validation_size}; expected 0 to {len(train) - 1}, "
            f"because {dataset.name} has {len(train)} training images"
        )
    return replace(dataset, train=train[validation_size:], validation=train[:validation_size])


def _read(source: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    if source == "mnist":
        bundled = Path(str(files("kmnist") / "data/mnist"))
        return replace(read_idx_folder(bundled), name=source)
    folder = Path(source).expanduser()
    # A bare name that is also a folder is read from TFDS unless the folder holds IDX files: a
    # checkout of this project has a folder kmnist.
    if folder.is_dir() and (os.sep in source or is_idx_folder(folder)):
        return read_idx_folder(folder)
    if source.startswith(("/", ".", "~")):
        raise MissingError(
            f"there is no folder {source}; expected a folder of IDX files, 'mnist' or a TFDS name"
        )
    return read_tfds(source.removeprefix("tfds:"), data_dir)
