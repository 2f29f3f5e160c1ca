"""Version folders of a model: list them, and publish a finished one under the next number.

``models/kmnist/`` holds one folder a version, named by its number, as TensorFlow Serving expects.
A version is written in a staging folder beside them, whose name is not a number so that no server
looks at it, and appears under its number by one rename: it is there whole, or not at all.
"""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmnist.errors import InputError, MissingError

__all__ = ["list_versions", "publish", "stage", "version_folder"]

_STAGING_PREFIX = ".staging-"


def list_versions(base: str | os.PathLike[str]) -> list[int]:
    """The version numbers under ``base``, ascending; empty if there is no such folder."""
    try:
        with os.scandir(base) as entries:
            return sorted(
                int(entry.name)
                for entry in entries
                if entry.name.isascii() and entry.name.isdecimal() and entry.is_dir()
            )
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise InputError(
            f"{base} is a file; expected a folder of versions such as models/kmnist"
        ) from None


def version_folder(base: str | os.PathLike[str], version: int | None = None) -> Path:
    """The folder of ``version`` under ``base``, or of the newest if it is None.

    Raises:
        MissingError: there is no such version, or no version at all.
    """
    versions = list_versions(base)
    if not versions:
        raise MissingError(f"no version in {base}; train one with: kmnist-train --output {base}")
    if version is None:
        version = versions[-1]
    if version not in versions:
        there = ", ".join(map(str, versions))
        raise MissingError(f"no version {version} in {base}; there are: {there}")
    return Path(base) / str(version)


@contextmanager
def stage(base: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder under ``base`` to write a version into; gone afterwards unless published.

    First sweeps what crashed runs left. A staging folder belongs to a live run as long as that
    run holds its lock, which the kernel releases however the run ends.
    """
    base = Path(base)
    try:
        base.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{base} is a file; expected a folder to write versions into") from None
    _sweep(base)
    folder = base / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
    # Not tempfile.mkdtemp: its mode 0700 would keep a server of another user out.
    folder.mkdir()
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def publish(staged: str | os.PathLike[str], base: str | os.PathLike[str]) -> int:
    """Renames the finished folder ``staged`` to the next version under ``base``.

    Returns:
        The version: one more than the highest there. Of two runs that publish at the same moment
        the second gets the number after.
    """
    base = Path(base)
    for folder, _, files in os.walk(staged):
        for name in files:
            _flush(os.path.join(folder, name))
        _flush(folder)
    version = max(list_versions(base), default=0)
    while True:
        version += 1
        try:
            # Onto a folder that is not empty, as a published version is, the rename fails.
            os.rename(staged, base / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            _flush(base)
            return version


def _sweep(base: Path) -> None:
    for folder in base.glob(f"{_STAGING_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except OSError:  # another run swept it first
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # a live run is writing it
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _flush(path: str | os.PathLike[str]) -> None:
    """To disk, so that not even a power cut publishes a folder with empty files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
