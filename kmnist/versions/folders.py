"""Version folders of a model: list, publish, label and prune them.

``models/kmnist/`` holds one folder per version, named by its number, as TensorFlow Serving expects.
A version is written to a staging folder beside them. Servers ignore it because its name is not a
number. One rename publishes it, so a version is either complete or absent. Versions are deleted the
same way: renamed to a staging folder first.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kmnist.errors import InputError, MissingError
from kmnist.files import check_folder, locked
from kmnist.versions.config import check_label, edit, read_labels

__all__ = [
    "check_writable",
    "label",
    "list_versions",
    "prune",
    "publish",
    "stage",
    "version_folder",
]

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

    Nothing is created: the folder is tried with a temporary file.

    Args:
        base: The folder of versions; need not exist.

    Raises:
        InputError: ``base`` or a path above it is not a folder, or ``models.config`` is not a file
            of TensorFlow Serving.
        KmnistError: A folder cannot be written to, or has no space for a version.
    """
    check_folder(base, "a version", _VERSION_BYTES)
    read_labels(base)


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
        OSError: The folder cannot be created.
    """
    base = Path(base)
    base.mkdir(parents=True, exist_ok=True)
    for lock in base.glob(f"{_STAGING_PREFIX}*.lock"):
        # BlockingIOError: a live process holds the lock. Other errors: the next export tries again.
        with suppress(OSError), locked(lock, wait=False):
            _remove(lock.with_suffix(""))
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
        OSError: The folder cannot be renamed.
    """
    base = Path(base)
    for folder, _, files in os.walk(staged):
        for name in files:
            _flush(os.path.join(folder, name))
        _flush(folder)
    version = 0
    while True:
        version = max([version, *list_versions(base)]) + 1
        try:
            # Fails if another process has published this version: its folder is not empty.
            os.rename(staged, base / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            _flush(base)
            return version


def label(base: str | os.PathLike[str], changes: Mapping[str, int | None]) -> dict[str, int]:
    """Assign labels to versions, or remove labels: all of the changes or none.

    Labels are stored in ``models.config``, which is created if it does not exist. A server that
    polls the file applies the change within its poll interval.

    Args:
        base: The folder of versions.
        changes: Label → version; None removes the label.

    Returns:
        Every label of the model and its version, sorted by label.

    Raises:
        InputError: A label has characters that would need escaping in a URL, or ``models.config``
            cannot be edited without losing a part of it.
        MissingError: ``base`` has no version, or a version or a label to remove does not exist.
        OSError: ``models.config`` cannot be written.

    Example:
        >>> label("models/kmnist", {"stable": 1, "canary": 2})
        {'canary': 2, 'stable': 1}
        >>> label("models/kmnist", {"stable": 2, "canary": None})
        {'stable': 2}
    """
    version_folder(base)  # without a version, fail before models.config is created
    with edit(base) as entry:
        labels = entry.version_labels
        for name, version in changes.items():
            check_label(name)
            if version is not None:
                version_folder(base, version)
                labels[name] = version
            elif name in labels:
                del labels[name]
            else:
                existing = ", ".join(sorted(labels)) or "none"
                raise MissingError(f"no label {name} in {base}; existing labels: {existing}")
        return dict(sorted(labels.items()))


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
    """
    if keep < 1:
        raise InputError(f"keep must be at least 1, not {keep}")
    base = Path(base)
    version_folder(base)  # without a version, fail before models.config is created
    # Holding the lock of models.config prevents a label on a version that is being deleted.
    with edit(base) as entry:
        pinned = {*entry.version_labels.values(), *entry.model_version_policy.specific.versions}
        folders = _folders(base)
        deleted = [version for version in sorted(folders)[:-keep] if version not in pinned]
        for version in deleted:
            with _staging_path(base) as trash:
                os.rename(base / folders[version], trash)
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
        raise InputError(f"{base} is a file, not a folder of versions") from None
    names.sort(key=len, reverse=True)
    numbers = {int(name): name for name in names if name.isascii() and name.isdecimal()}
    return {number: name for number, name in numbers.items() if number <= _MAX_VERSION}


@contextmanager
def _staging_path(base: Path) -> Iterator[Path]:
    """Reserve a path for a staging folder; delete the folder at the end if it exists."""
    folder = base / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
    with locked(_lock_of(folder)):
        try:
            yield folder
        finally:
            _remove(folder)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path) -> None:
    """Delete a staging folder, then its lock file, by which a later export finds the rest."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        _lock_of(folder).unlink(missing_ok=True)


def _flush(path: str | os.PathLike[str]) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
