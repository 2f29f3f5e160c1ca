"""Files: atomic replacement, locks between processes, and ``SHA256SUMS`` as ``sha256sum`` writes them.

Used for checkpoints, ``models.config`` and version folders; needs the standard library only.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from kmnist.errors import InputError, KmnistError

__all__ = [
    "CHECKSUMS",
    "check_folder",
    "hash_file",
    "locked",
    "read_checksums",
    "replacing",
    "write_checksums",
]

CHECKSUMS: Final = "SHA256SUMS"

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = True) -> Iterator[int]:
    """Hold an exclusive lock on a file, which is created if it does not exist.

    The kernel releases the lock when its holder exits, however that happens. The lock is on a file
    and not on a folder, because NFS locks only files that are open for writing.

    Args:
        path: The lock file. Its holder may rename or delete it.
        wait: Wait for another holder instead of raising.

    Yields:
        The file descriptor of the lock file, open for reading and writing.

    Raises:
        BlockingIOError: Another process holds the lock and ``wait`` is false.
        OSError: The file cannot be created.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # The last holder may have renamed or deleted the file that this one waited for.
            if _is_file_at(handle, path):
                yield handle
                return
        finally:
            os.close(handle)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that replaces the one at ``path`` when the block ends without an error.

    A reader, or a crash at any moment, sees the old content or the new one. The new file has the
    mode of the old one. If ``path`` is a symbolic link, its target is replaced. Several writers
    take turns.

    Args:
        path: The file to replace or create; its folder must exist.

    Yields:
        The new file, open for writing.

    Raises:
        OSError: The file cannot be written; the old one is unchanged.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.partial")
    with locked(partial) as handle:
        try:
            os.ftruncate(handle, 0)  # what a process that was killed left behind
            with suppress(FileNotFoundError):
                os.fchmod(handle, path.stat().st_mode & 0o777)
            with open(handle, "wb", closefd=False) as file:
                yield file
                file.flush()
                os.fsync(handle)
            os.rename(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def check_folder(folder: str | os.PathLike[str], what: str, size: int = 1) -> None:
    """Check that a file can be written to a folder, before the work of making it.

    Nothing is created: the folder is tried with a temporary file.

    Args:
        folder: The folder; need not exist.
        what: What is to be written, for the message.
        size: The bytes that it needs.

    Raises:
        InputError: ``folder`` or a path above it is not a folder.
        KmnistError: The folder cannot be written to, or has no space.
    """
    path = Path(os.path.abspath(folder))
    existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise InputError(f"{existing} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(size))
    except OSError as error:
        raise KmnistError(f"cannot write {what} to {existing}: {error.strerror}") from None


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
        raise KmnistError(f"{path} is damaged: each line must be a SHA-256, two spaces and a path")
    return checksums


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write the ``SHA256SUMS`` of a folder: path relative to the folder → SHA-256, in hex."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(checksums.items())]
    (folder / CHECKSUMS).write_text("".join(lines), "utf-8")


def _is_file_at(handle: int, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
