"""Load a data set from the source that its name refers to."""

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from kmnist.checks import integer
from kmnist.data.arrays import read_npz
from kmnist.data.dataset import Dataset
from kmnist.data.idx import is_idx_folder, read_idx_folder
from kmnist.data.pictures import MAX_SIDE, is_picture_folder, read_picture_folder
from kmnist.data.tfds import read_tfds
from kmnist.errors import InputError, MissingError

__all__ = ["load_dataset", "needs_tensorflow"]

_NPZ: Final = ".npz"


def load_dataset(
    source: str | os.PathLike[str] = "mnist",
    *,
    validation_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    grey: bool = False,
    image_size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Load a data set of grey images.

    Args:
        source: One of:

            * ``"mnist"``: the bundled files.
            * A folder of the four IDX files ``train-images-idx3-ubyte``,
              ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
              ``t10k-labels-idx1-ubyte``, each raw or ``.gz``. An optional ``classes.txt`` names
              the classes, one a line. Replace files that a process may be reading by renaming new
              ones: truncating one that is memory-mapped ends the process with SIGBUS.
            * A folder of pictures, ``train/CLASS/*.png`` with ``val/CLASS/*.png`` or
              ``test/CLASS/*.png`` or both, or ``CLASS/*.png``. Without ``test``, a fifth of the
              training pictures is chosen for the test by a hash of the files. PNG, JPEG, GIF, BMP
              and WebP are read, and kept in ``NAME.cache.npz`` beside the folder until a file
              changes.
            * An ``.npz`` file with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``,
              as in Keras' ``mnist.npz``, and optionally ``class_names``.
            * Any other name: a TFDS data set such as ``"fashion_mnist"``; ``"tfds:mnist"`` reads
              MNIST itself from TFDS.
        validation_size: The number of training images, from the first, to hold out for validation;
            None for a tenth of them, at most 5,000. A data set with validation images of its own
            keeps these, and only these.
        data_dir: The folder of prepared TFDS data sets, and in which pictures are kept; None for
            TFDS's default and the place beside the pictures.
        grey: Convert images with colours to their brightness.
        image_size: The height and width of the images, or one number for both. A folder of pictures
            is scaled to it, and needs it if the pictures have different sizes.

    Returns:
        The data set, with images uint8 (n, height, width).

    Raises:
        ColourError: Images have colours, and ``grey`` is not set.
        InputError: A file is damaged or does not match the others, pictures differ in size, images
            that are no pictures have another size than ``image_size``, a label is out of range, the
            TFDS data set does not hold images with labels, or ``validation_size`` leaves no image
            to train on.
        MissingError: The file, the folder or one of its files does not exist, or TFDS has no data set of
            that name or cannot download it.

    Example:
        With a folder ``digits`` of 500 training and 200 test images:

        >>> dataset = load_dataset("digits", validation_size=100)
        >>> len(dataset.train), len(dataset.validation), len(dataset.test)
        (400, 100, 200)
        >>> dataset.train.images.shape, dataset.train.images.dtype
        ((400, 28, 28), dtype('uint8'))
    """
    source, size = os.fspath(source), _as_size(image_size)
    path = _find_path(source)
    if path is None:
        dataset = read_tfds(source.removeprefix("tfds:"), data_dir, grey=grey)
    elif path.is_file():
        dataset = read_npz(path, grey=grey)
    elif _holds_pictures(path):
        dataset = read_picture_folder(path, cache=data_dir, grey=grey, image_size=size)
    else:
        dataset = read_idx_folder(path)
    if path is not None:
        # Errors of reading have the path; what is published, such as a model card, has the name.
        dataset = replace(dataset, name=path.resolve().name)
    if size not in (None, dataset.image_shape):
        raise InputError(
            f"{source} has images of {dataset.image_shape}, not of {size} pixels: only folders of "
            "pictures are scaled"
        )
    if len(dataset.validation):
        return dataset
    return dataset.hold_out(validation_size)


def needs_tensorflow(source: str) -> bool:
    """Return whether loading a source, as in :func:`load_dataset`, may import TensorFlow.

    Raises:
        MissingError: The source is the path of a file or folder that does not exist.
    """
    path = _find_path(source)
    return path is None or _holds_pictures(path)


def _find_path(source: str) -> Path | None:
    """Return the file or folder that a source refers to; None if it is a TFDS name."""
    if source == "mnist":
        return Path(str(files("kmnist") / "data/mnist"))
    path = Path(source).expanduser()
    # A bare name that is also a folder is read from TFDS unless the folder holds images: a
    # checkout of this project has a folder kmnist.
    if path.is_dir() and (os.sep in source or is_idx_folder(path) or is_picture_folder(path)):
        return path
    if path.is_file() and path.suffix != _NPZ and (os.sep in source or path.suffix):
        raise InputError(f"{source} is a file: a data set is a folder, an .npz file or a name")
    if path.is_file() and path.suffix == _NPZ:
        return path
    # A TFDS name has one slash at most, between a data set and its configuration.
    if source.startswith(("/", ".", "~")) or path.suffix == _NPZ or source.count("/") > 1:
        raise MissingError(
            f"there is no folder or file {source}: a data set is a folder of IDX files or pictures, "
            "an .npz file, 'mnist' or a TFDS name"
        )
    return None


def _holds_pictures(path: Path) -> bool:
    """Return whether a folder holds the folders of classes and not IDX files."""
    if not path.is_dir() or is_idx_folder(path):
        return False
    return any(inner.is_dir() for inner in path.iterdir() if not inner.name.startswith("."))


def _as_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = size if isinstance(size, tuple) else (size, size)
    return integer("image_size", height, 1, MAX_SIDE), integer("image_size", width, 1, MAX_SIDE)
