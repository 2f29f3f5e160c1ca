"""The folder of versions, as every part of this package takes it."""

from pathlib import Path

from kmnist.errors import InputError

__all__ = ["require_base_folder"]


def require_base_folder(base: Path) -> None:
    """Refuse a version folder where the folder of versions is expected.

    Raises:
        InputError: ``base`` itself contains a SavedModel.
    """
    if not any(base.glob("saved_model.pb*")):
        return
    folder = base.absolute()
    if folder.name.isdecimal():
        raise InputError(
            f"{base} is a version; expected the folder of versions, {folder.parent}, and the "
            f"version {int(folder.name)}"
        )
    raise InputError(
        f"{base} is a SavedModel; expected a folder of versions; move its content to {base / '1'}"
    )
