"""Read a data set from an ``.npz`` file in the form of Keras' ``mnist.npz``."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from kmnist.checks import one_line
from kmnist.data.dataset import Dataset
from kmnist.errors import InputError

__all__ = ["read_npz"]

_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")
_CLASS_NAMES: Final = "class_names"


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
                f"({one_line(error)}): save them with np.savez"
            ) from None
    dataset = Dataset.from_arrays(
        *arrays, class_names=names, validation_size=0, grey=grey, name=str(path)
    )
    return replace(dataset, paths=(path,))
