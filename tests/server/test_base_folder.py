"""The folder of versions, and what is refused in its place."""

from pathlib import Path

import pytest

from kmnist.errors import InputError
from kmnist.server.base_folder import require_base_folder


def test_a_folder_of_versions_is_accepted_even_if_it_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    require_base_folder(tmp_path)
    require_base_folder(tmp_path / "none")


@pytest.mark.parametrize("file", ["saved_model.pb", "saved_model.pbtxt"])
def test_a_version_is_refused_with_its_parent_and_number(tmp_path: Path, file: str) -> None:
    (tmp_path / "007").mkdir()
    (tmp_path / "007" / file).touch()
    with pytest.raises(InputError, match=f"folder of versions, {tmp_path}, and the version 7"):
        require_base_folder(tmp_path / "007")


def test_a_saved_model_outside_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "saved_model.pb").touch()
    with pytest.raises(InputError, match=f"move its content to {tmp_path / 'exported' / '1'}"):
        require_base_folder(tmp_path / "exported")
