"""Load a data set from the source that its name refers to."""

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from kmnist.checksums import CHECKSUMS, read_checksums
from kmnist.data.datasets import Dataset
from kmnist.data.idx_folder import is_idx_folder, read_idx_folder
from kmnist.data.tfds import read_tfds
from kmnist.defaults import VALIDATION_SIZE
from kmnist.errors import InputError, MissingError

__all__ = ["find_folder", "load_dataset"]


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
    source = os.fspath(source)
    folder = find_folder(source)
    if folder is None:
        dataset = read_tfds(source.removeprefix("tfds:"), data_dir)
    else:
        dataset = read_idx_folder(folder)
        if source == "mnist":
            dataset = replace(dataset, name=source)
            _check_bundled(dataset, folder)
    train = dataset.train
    integral = isinstance(validation_size, int | np.integer)
    if not integral or isinstance(validation_size, bool) or not 0 <= validation_size < len(train):
        raise InputError(
            f"received a validation size of {validation_size!r}; expected 0 to {len(train) - 1}, "
            f"because {dataset.name} has {len(train)} training images"
        )
    return replace(dataset, train=train[validation_size:], validation=train[:validation_size])


def find_folder(source: str) -> Path | None:
    """Return the folder of IDX files that a source refers to; None if it is a TFDS name.

    Args:
        source: The source, as in :func:`load_dataset`.

    Raises:
        MissingError: The source is the path of a folder that does not exist.
    """
    if source == "mnist":
        return Path(str(files("kmnist") / "data/mnist"))
    folder = Path(source).expanduser()
    # A bare name that is also a folder is read from TFDS unless the folder holds IDX files: a
    # checkout of this project has a folder kmnist.
    if folder.is_dir() and (os.sep in source or is_idx_folder(folder)):
        return folder
    if source.startswith(("/", ".", "~")):
        raise MissingError(
            f"there is no folder {source}; expected a folder of IDX files, 'mnist' or a TFDS name"
        )
    return None


def _check_bundled(dataset: Dataset, folder: Path) -> None:
    expected = read_checksums(folder)
    for name, received in dataset.checksums().items():
        if received != expected.get(name):
            raise InputError(
                f"{folder / name} has the SHA-256 {received[:12]}…, which is not the one in "
                f"{CHECKSUMS} beside it; expected MNIST as published; install kmnist again"
            )
