"""Read a data set from an ``.npz`` file in the form of Keras' ``mnist.npz``, and images alone."""

from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.data.dataset import Dataset
from kmnist.data.idx import find_test_images, read_idx
from kmnist.errors import InputError

__all__ = ["read_images", "read_npz"]

_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")
_TEST_IMAGES: Final = "x_test"
_CLASS_NAMES: Final = "class_names"

# The beginning of an IDX file of images.
_IDX: Final = b"\0\0\x08\x03"


def read_npz(path: Path, *, grey: bool = False) -> Dataset:
    """Read an ``.npz`` file; nothing in it is unpickled.

    Args:
        path: The file, with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` that
            :meth:`Dataset.from_arrays` takes, and optionally ``class_names``.
        grey: Convert images with colours to their brightness.

    Returns:
        The data set, with an empty validation split.

    Raises:
        ColourError: Images have colours, and ``grey`` is not set.
        InputError: The file is damaged, an array is missing or holds Python objects, or
            :class:`Dataset` rejects what they contain.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as raw:
        try:
            with np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
                arrays = [file[name] for name in _ARRAYS]
                names = file[_CLASS_NAMES].tolist() if _CLASS_NAMES in file else None
        except Exception as error:  # noqa: BLE001 - NumPy and zipfile raise many kinds
            raise InputError(
                f"{path} is not an .npz file of the arrays {', '.join(_ARRAYS)} "
                f"({one_line(error)}): save them with np.savez, text as .astype(str)"
            ) from None
    dataset = Dataset.from_arrays(
        *arrays, class_names=names, validation_size=0, grey=grey, name=str(path)
    )
    return replace(dataset, paths=(path,))


def read_images(path: Path) -> NDArray[np.uint8] | None:
    """Read images without their classes.

    Args:
        path: An IDX file, an ``.npy`` file, an ``.npz`` file of one array of images or with one named
            ``x_test``, or a folder of IDX files, whose test images are read.

    Returns:
        The images, uint8 (n, height, width), memory-mapped if the file is ``.npy`` or large and not
        compressed; None if ``path`` is something else.

    Raises:
        InputError: The file is damaged, or does not hold such images.
    """
    file = find_test_images(path) if path.is_dir() else path
    if file is None or not file.is_file():
        return None
    if file.suffix in (".npy", ".npz"):
        return _read_numpy(file)
    with file.open("rb") as opened:
        is_idx = file.suffix == ".gz" or opened.read(len(_IDX)) == _IDX
    return read_idx(file, ndim=3) if is_idx else None


def _read_numpy(path: Path) -> NDArray[np.uint8]:
    try:
        images = np.load(path, mmap_mode="r")
        if path.suffix == ".npz":
            with images as file:
                if _TEST_IMAGES in file:
                    images = file[_TEST_IMAGES]
                else:
                    (images,) = (array for array in file.values() if array.ndim == 3)
    except Exception as error:  # NumPy and zipfile raise many kinds
        raise InputError(f"{path} does not hold one array of images, uint8 (n, h, w)") from error
    if images.dtype != np.uint8 or images.ndim != 3:
        raise InputError(
            f"{path} holds {images.dtype} {images.shape}: images must be uint8 (n, h, w)"
        )
    return cast("NDArray[np.uint8]", images)
