"""The folder of versions, and what is refused in its place."""

from pathlib import Path

import pytest

from kmnist.errors import InputError
from kmnist.server.base_folder import require_base_folder


@pytest.mark.parametrize("file", ["saved_model.pb", "saved_model.pbtxt"])
def test_a_version_is_refused_with_the_folder_to_use(tmp_path: Path, file: str) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / file).touch()
    require_base_folder(tmp_path)
    with pytest.raises(InputError, match=f"use the folder of versions, {tmp_path}, which"):
        require_base_folder(tmp_path / "1")
