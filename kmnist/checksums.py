"""``SHA256SUMS`` files, as ``sha256sum`` writes and checks them."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kmnist.errors import KmnistError

__all__ = ["CHECKSUMS", "hash_file", "read_checksums", "write_checksums"]

CHECKSUMS: Final = "SHA256SUMS"

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(folder: Path) -> dict[str, str]:
    """Read the ``SHA256SUMS`` of a folder.

    Returns:
        Path relative to the folder → SHA-256, in hex.

    Raises:
        KmnistError: The file has a line of another form, or none.
        OSError: The file cannot be read; FileNotFoundError if it does not exist.
    """
    path = folder / CHECKSUMS
    lines = path.read_text("utf-8", errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    checksums = {match[2]: match[1] for match in matches if match}
    if not checksums or None in matches:
        raise KmnistError(f"{path} is damaged; expected lines of a SHA-256, two spaces and a path")
    return checksums


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write the ``SHA256SUMS`` of a folder: path relative to the folder → SHA-256, in hex."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(checksums.items())]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8")
