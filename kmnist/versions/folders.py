"""Version folders of a model: list, publish and prune them.

``models/kmnist/`` holds one folder per version, named by its number, as TensorFlow Serving expects.
A version is written to a staging folder beside them. Servers ignore it because its name is not a
number. One rename publishes it, so a version is either complete or absent. Versions are deleted the
same way: renamed to a staging folder first.
"""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.files import locked
from kmnist.versions.models_config import config_path, lacks_entry, pinned_versions

__all__ = ["check_writable", "list_versions", "prune", "publish", "stage", "version_folder"]

_STAGING_PREFIX: Final = ".staging-"

# TensorFlow Serving stores a version as an int64.
_MAX_VERSION: Final = 2**63 - 1

# Several times the size of a version of MNIST.
_VERSION_BYTES: Final = 4 * 2**20


def list_versions(base: str | os.PathLike[str]) -> list[int]:
    """Return the version numbers in a folder, ascending.

    Args:
        base: The folder of versions.

    Returns:
        The numbers; empty if ``base`` does not exist.

    Raises:
        InputError: ``base`` is a file.
    """
    return sorted(_folders(base))


def version_folder(base: str | os.PathLike[str], version: int | None = None) -> Path:
    """Return the folder of a version.

    Args:
        base: The folder of versions.
        version: The version number; the highest if None.

    Returns:
        The path of an existing folder.

    Raises:
        InputError: ``base`` is a file.
        MissingError: ``base`` has no version, or not this one.
    """
    folders = _folders(base)
    if not folders:
        raise MissingError(f"no version in {base}; train one with kmnist-train")
    if version is None:
        version = max(folders)
    if version not in folders:
        existing = ", ".join(map(str, sorted(folders)))
        raise MissingError(f"no version {version} in {base}; existing versions: {existing}")
    return Path(base) / folders[version]


def check_writable(base: str | os.PathLike[str]) -> None:
    """Check that a version can be published in a folder, before the work of making one.

    Nothing is created: the folders are tried with temporary files.

    Args:
        base: The folder of versions; need not exist.

    Raises:
        InputError: ``base`` or a path above it is not a folder, ``base`` has no name, its highest
            version is the last possible one, or ``models.config`` cannot be edited.
        KmnistError: A folder cannot be written to, or has no space for a version.
    """
    base = Path(base)
    existing = _existing(base)
    if not existing.is_dir():
        raise InputError(f"{existing} is not a folder; expected a folder to write versions to")
    if lacks_entry(base):
        _try_to_write(Path(os.path.realpath(config_path(base))).parent, 0)
    _next_version(base)
    _try_to_write(base, _VERSION_BYTES)


@contextmanager
def stage(base: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a staging folder for a new version; delete it at the end unless it was published.

    Staging folders of processes that crashed are deleted first. Each live process holds a lock on
    the file beside its staging folder.

    Args:
        base: The folder of versions; created if it does not exist.

    Yields:
        An empty folder under ``base``.

    Raises:
        InputError: ``base`` is a file.
        OSError: The folder cannot be created.
    """
    base = Path(base)
    try:
        base.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{base} is not a folder; expected a folder to write versions to"
        ) from None
    _sweep(base)
    with _staging_path(base) as folder:
        # tempfile.mkdtemp would use mode 0700, which a server of another user cannot read.
        folder.mkdir()
        yield folder


def publish(staged: str | os.PathLike[str], base: str | os.PathLike[str]) -> int:
    """Publish a finished folder as the next version, by one rename.

    Its files are flushed to disk first, so that a power failure cannot leave a version with empty
    files.

    Args:
        staged: The folder, as yielded by :func:`stage`.
        base: The folder of versions.

    Returns:
        The version number: the highest one in ``base`` plus 1. Processes that publish at the same
        time get different numbers.

    Raises:
        InputError: The highest version is the last possible one.
        KmnistError: The version is published, but may not outlast a power failure.
        OSError: The folder cannot be renamed.

    Example:
        >>> with stage("models/kmnist") as folder:
        ...     (folder / "saved_model.pb").touch()
        ...     publish(folder, "models/kmnist")
        1
        >>> list_versions("models/kmnist")
        [1]
    """
    base = Path(base)
    for folder, _, files in os.walk(staged):
        for name in files:
            _flush(os.path.join(folder, name))
        _flush(folder)
    version = _next_version(base)
    while True:
        try:
            # Fails if another process has published this version: its folder is not empty.
            os.rename(staged, base / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            version = _next_version(base, version)
        else:
            break
    try:
        _flush(base)
    except OSError as error:
        raise KmnistError(
            f"published {base / str(version)}, but {base} cannot be flushed to disk: "
            f"{error.strerror}"
        ) from None
    return version


def prune(base: str | os.PathLike[str], keep: int) -> list[int]:
    """Delete old versions.

    Versions that have a label, or that ``models.config`` lists by number, are never deleted.

    Args:
        base: The folder of versions.
        keep: The number of newest versions to keep; at least 1, so that no number is used again.

    Returns:
        The deleted versions, ascending.

    Raises:
        InputError: ``keep`` is less than 1, or ``models.config`` cannot be read.
        MissingError: ``base`` has no version.
        OSError: A version cannot be deleted; older ones may have been.

    Example:
        >>> list_versions("models/kmnist")
        [1, 2, 3]
        >>> prune("models/kmnist", keep=2)
        [1]
    """
    if keep < 1:
        raise InputError(f"received keep {keep}; expected 1 or more")
    base = Path(base)
    version_folder(base)  # without a version, fail before the lock file is created
    # Holding the lock of models.config prevents a label on a version that is being deleted.
    with pinned_versions(base) as pinned:
        folders = _folders(base)
        deleted = [version for version in sorted(folders)[:-keep] if version not in pinned]
        for version in deleted:
            with _staging_path(base) as trash:
                os.rename(base / folders[version], trash)
        _sweep(base)
    return deleted


def _folders(base: str | os.PathLike[str]) -> dict[int, str]:
    """Map versions to folder names, which may have leading zeros: TensorFlow Serving accepts them.

    If both ``1`` and ``01`` exist, version 1 is ``1``.
    """
    try:
        with os.scandir(base) as entries:
            # entry.is_dir would raise for a link that leads to itself.
            names = [entry.name for entry in entries if os.path.isdir(entry)]
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise InputError(
            f"{base} is a file; expected a folder of versions such as models/kmnist"
        ) from None
    names.sort(key=len, reverse=True)
    numbers = {int(name): name for name in names if name.isascii() and name.isdecimal()}
    return {number: name for number, name in numbers.items() if number <= _MAX_VERSION}


def _next_version(base: Path, above: int = 0) -> int:
    """Return the lowest number above ``above`` and above every version in ``base``."""
    version = max([above, *list_versions(base)]) + 1
    if version > _MAX_VERSION:
        raise InputError(
            f"{base} has version {_MAX_VERSION}, and a server can load no higher number; delete or "
            "rename that version, or use another folder"
        )
    return version


def _existing(path: Path) -> Path:
    """Return the nearest existing file or folder at or above ``path``."""
    path = Path(os.path.abspath(path))
    return next(parent for parent in (path, *path.parents) if os.path.lexists(parent))


def _try_to_write(folder: Path, size: int) -> None:
    """Write ``size`` bytes to a temporary file in ``folder``, or above it if it does not exist."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)) as file:
            file.write(bytes(size))
    except OSError as error:
        space = f", with {size / 2**20:.0f} MiB of free space" if size else ""
        raise KmnistError(
            f"{folder} cannot be written to: {error.strerror}; expected a folder that this user can "
            f"write to{space}"
        ) from None


@contextmanager
def _staging_path(base: Path) -> Iterator[Path]:
    """Reserve a path for a staging folder; delete the folder at the end if it exists."""
    folder = base / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
    with locked(_lock_of(folder)):
        try:
            yield folder
        finally:
            _remove(folder)


def _sweep(base: Path) -> None:
    for lock in base.glob(f"{_STAGING_PREFIX}*.lock"):
        # BlockingIOError: a live process holds the lock. Other errors: the next sweep tries again.
        with suppress(OSError), locked(lock, wait=False):
            _remove(lock.with_suffix(""))


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path) -> None:
    """Delete a staging folder, then its lock file, by which a later sweep finds the rest."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        # After an error the next sweep tries again. A published version must not seem to have failed.
        with suppress(OSError):
            _lock_of(folder).unlink()


def _flush(path: str | os.PathLike[str]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
