"""Files of a data set: images, or one line that says why not."""

import gzip
import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kmnist import InputError, load_dataset
from kmnist.data.idx import read_idx
from tests.fuzz.conftest import Ceiling

_IDX: Final = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(8))
_ARRAYS: Final[dict[str, Any]] = {
    "x_train": np.arange(320, dtype=np.uint8).reshape(20, 4, 4),
    "y_train": np.arange(20) % 2,
    "x_test": np.arange(32, dtype=np.uint8).reshape(2, 4, 4),
    "y_test": np.arange(2),
}

_changes = st.dictionaries(st.integers(0, 3000), st.integers(0, 255), max_size=5)


def changed(content: bytes, changes: dict[int, int]) -> bytes:
    """Return the content with some bytes replaced."""
    found = bytearray(content)
    for place, value in changes.items():
        found[place % len(found)] = value
    return bytes(found)


@given(changes=_changes, compressed=st.booleans())
def test_an_npz_file_is_read_or_refused(
    ceiling: Ceiling, tmp_path: Path, changes: dict[int, int], compressed: bool
) -> None:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **_ARRAYS)
    path = tmp_path / "x.npz"
    path.write_bytes(changed(file.getvalue(), changes))
    with ceiling(), suppress(InputError):
        assert load_dataset(path, validation_size=0).train.images.shape[0] > 0


@given(changes=_changes, compressed=st.booleans())
def test_an_idx_file_is_read_or_refused(
    ceiling: Ceiling, tmp_path: Path, changes: dict[int, int], compressed: bool
) -> None:
    path = tmp_path / ("x.gz" if compressed else "x")
    path.write_bytes(changed(gzip.compress(_IDX, mtime=0) if compressed else _IDX, changes))
    with ceiling(), suppress(InputError):
        assert read_idx(path, ndim=3).ndim == 3
