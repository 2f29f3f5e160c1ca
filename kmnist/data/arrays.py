"""Read a data set from an ``.npz`` file in the form of Keras' ``mnist.npz``."""

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

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
        OSError: The file cannot be opened or read.
    """
    try:
        with path.open("rb") as raw, np.lib.npyio.NpzFile(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*_ARRAYS, _CLASS_NAMES) if name in file}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} is not an .npz file of plain arrays ({reason}); expected a file written with "
            f"np.savez, with {', '.join(_ARRAYS)}; save it again"
        ) from None
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise InputError(
            f"{path} has no arrays {', '.join(missing)}; expected {', '.join(_ARRAYS)}; save them "
            "with np.savez"
        )
    names = arrays[_CLASS_NAMES].tolist() if _CLASS_NAMES in arrays else None
    dataset = Dataset.from_arrays(
        *(arrays[name] for name in _ARRAYS),
        class_names=names,
        validation_size=0,
        grey=grey,
        name=str(path),
    )
    return replace(dataset, paths=(path,))
