"""The manifest of a version: the SHA-256 of every file that a program loads as a model.

It is the file ``SHA256SUMS`` in the version folder, so ``sha256sum -c SHA256SUMS`` checks it too. It
reveals a damaged, incomplete or mixed-up version. Against someone who can write to the folder, and
so to the manifest, only a signature helps: ``docs/signing.md``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kmnist.errors import KmnistError
from kmnist.files import CHECKSUMS, hash_file, read_checksums, write_checksums

__all__ = ["verify_version", "write_manifest"]

# The model card and the plots are not among them: a note in the card must not stop a server.
_SERVED: Final = (
    "saved_model.*",
    "model.keras",
    "fingerprint.pb",
    "variables/**/*",
    "assets/**/*",
    "assets.extra/**/*",
)


def write_manifest(folder: str | os.PathLike[str]) -> None:
    """Write the manifest of a version that is complete but not yet published.

    Args:
        folder: The version folder.

    Raises:
        OSError: A file cannot be read, or the manifest cannot be written.
    """
    folder = Path(folder)
    write_checksums(folder, {name: hash_file(folder / name) for name in _served(folder)})


def verify_version(folder: str | os.PathLike[str]) -> bool:
    """Compare the files of a version that a server reads with its manifest.

    Args:
        folder: The version folder.

    Returns:
        False if the version has no manifest, as one exported by another program.

    Raises:
        KmnistError: A file differs, is missing, is not in the manifest, or cannot be read. The
            message names the first one, by path.

    Example:
        >>> verify_version("models/kmnist/1")
        True
    """
    folder = Path(folder)
    if not (folder / CHECKSUMS).exists():
        return False
    if not (folder / CHECKSUMS).is_file():  # reading a pipe would not end
        raise KmnistError(f"{folder / CHECKSUMS} is not a file: copy or export the version again")
    try:
        _compare(folder, read_checksums(folder))
    except OSError as error:
        raise KmnistError(f"{error.filename} cannot be read: {error.strerror}") from None
    return True


def _compare(folder: Path, expected: Mapping[str, str]) -> None:
    again = "copy or export the version again"
    for name in sorted(_served(folder) | expected.keys()):
        path = folder / name
        if name not in expected:
            raise KmnistError(f"{path} is not listed in {CHECKSUMS}: delete it, or {again}")
        if not path.is_file():  # also true of a pipe, which could not be read to its end
            raise KmnistError(f"{path} is missing: {again}")
        actual = hash_file(path)
        if actual != expected[name]:
            raise KmnistError(
                f"{path} has the SHA-256 {actual[:12]}…, but {CHECKSUMS} lists "
                f"{expected[name][:12]}…: {again}"
            )


def _served(folder: Path) -> set[str]:
    """Return the paths of the files that a server reads, relative to ``folder``."""
    return {
        path.relative_to(folder).as_posix()
        for pattern in _SERVED
        for path in folder.glob(pattern)
        if not path.is_dir()
    }
