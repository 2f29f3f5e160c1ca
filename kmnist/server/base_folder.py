"""The folder of versions, as every part of this package takes it."""

from pathlib import Path

from kmnist.errors import InputError

__all__ = ["require_base_folder"]


def require_base_folder(base: Path) -> None:
    """Refuse a version folder where the folder of versions is expected.

    Raises:
        InputError: ``base`` itself contains a SavedModel.
    """
    if any(base.glob("saved_model.pb*")):
        raise InputError(
            f"{base} is a SavedModel: use the folder of versions, {base.absolute().parent}, which "
            "holds one folder for each version, named by its number"
        )
