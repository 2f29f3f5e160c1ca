"""Version folders of a model: list, publish, label and prune them.

``models/kmnist/`` holds one folder a version, named by its number, as TensorFlow Serving expects.
A version is written in a staging folder beside them, whose name is not a number so that no server
looks at it, and appears under its number by one rename: it is there whole, or not at all. It
leaves the same way, by a rename into a staging folder that is then deleted.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kmnist.atomic import locked
from kmnist.errors import InputError, MissingError

__all__ = ["label", "list_versions", "prune", "publish", "stage", "version_folder"]

_STAGING_PREFIX = ".staging-"
_LARGEST = 2**63 - 1  # a version is an int64 in TensorFlow Serving
_LABEL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]*"
)  # what needs no escaping in /v1/models/M/labels/NAME


def list_versions(base: str | os.PathLike[str]) -> list[int]:
    """The version numbers under ``base``, ascending; empty if there is no such folder.

    Raises:
        InputError: ``base`` is a file.
    """
    return sorted(_folders(base))


def version_folder(base: str | os.PathLike[str], version: int | None = None) -> Path:
    """The folder of ``version`` under ``base``, or of the newest if it is None.

    Raises:
        InputError: ``base`` is a file.
        MissingError: there is no such version, or no version at all.
    """
    folders = _folders(base)
    if not folders:
        raise MissingError(f"no version in {base}; train one with: kmnist-train --output {base}")
    if version is None:
        version = max(folders)
    if version not in folders:
        raise _missing(version, base, folders)
    return Path(base) / folders[version]


@contextmanager
def stage(base: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder under ``base`` to write a version into; gone afterwards unless published.

    First sweeps what crashed runs left. A staging folder belongs to a live run as long as that
    run holds the lock file beside it, which the kernel releases however the run ends.

    Raises:
        InputError: ``base`` is a file.
    """
    base = Path(base)
    try:
        base.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{base} is a file; expected a folder to write versions into") from None
    _sweep(base)
    with _staging_folder(base) as folder:
        # Not tempfile.mkdtemp: its mode 0700 would keep a server of another user out.
        folder.mkdir()
        yield folder


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


def label(base: str | os.PathLike[str], changes: Mapping[str, int | None]) -> dict[str, int]:
    """Points labels at versions under ``base``, None taking a label away: all of them, or none.

    A server that polls ``models.config`` follows within its poll interval.

    Returns:
        Every label there is now and its version.

    Raises:
        InputError: a label's name would not fit into a URL.
        MissingError: there is no such version, or no such label to take away.
    """
    from kmnist.versions.models_config import edit_labels

    version_folder(base)  # if there is none, fails before a models.config is made
    with edit_labels(base) as labels:
        folders = _folders(base)
        for name, version in changes.items():
            if not _LABEL.fullmatch(name):
                raise InputError(
                    f"{name!r} cannot be a label; expected letters and digits, then also _ - ."
                )
            if version is None:
                if labels.pop(name, None) is None:
                    there = ", ".join(sorted(labels)) or "none"
                    raise MissingError(f"no label {name} for {base}; there are: {there}")
            elif version not in folders:
                raise _missing(version, base, folders)
            else:
                labels[name] = version
        return dict(sorted(labels.items()))


def prune(base: str | os.PathLike[str], keep: int) -> list[int]:
    """Deletes all but the ``keep`` newest versions under ``base``.

    Never deletes a version that has a label or that ``models.config`` asks for by number.

    Returns:
        The versions deleted, ascending.

    Raises:
        InputError: ``keep`` is below 1: the newest stays, so that no number is used twice.
        MissingError: there is no version.
        OSError: a version cannot be deleted; those before it are.
    """
    from kmnist.versions.models_config import pinned_versions

    if keep < 1:
        raise InputError(f"cannot keep {keep} versions; expected 1 or more")
    version_folder(base)
    # The lock keeps a label from being put on a version that is about to go.
    with pinned_versions(base) as pinned:
        folders = _folders(base)
        doomed = [version for version in sorted(folders)[:-keep] if version not in pinned]
        for version in doomed:
            with _staging_folder(Path(base)) as bin_:
                os.rename(Path(base) / folders[version], bin_)
        _sweep(Path(base))
    return doomed


def _folders(base: str | os.PathLike[str]) -> dict[int, str]:
    """Version → folder name; the two differ in leading zeros, which a server accepts."""
    try:
        with os.scandir(base) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return {}
    except NotADirectoryError:
        raise InputError(
            f"{base} is a file; expected a folder of versions such as models/kmnist"
        ) from None
    numbers = {name: int(name) for name in names if name.isascii() and name.isdecimal()}
    return {number: name for name, number in numbers.items() if number <= _LARGEST}


def _missing(version: int, base: str | os.PathLike[str], there: Mapping[int, str]) -> MissingError:
    return MissingError(
        f"no version {version} in {base}; there are: {', '.join(map(str, sorted(there)))}"
    )


@contextmanager
def _staging_folder(base: Path) -> Iterator[Path]:
    """A path under ``base`` that no sweep touches, nothing there yet; what comes there is deleted."""
    with ExitStack() as held:
        while True:
            folder = base / f"{_STAGING_PREFIX}{secrets.token_hex(8)}"
            lock = held.enter_context(locked(_lock_of(folder)))
            # A sweeper may have taken the file between its making and its locking.
            if os.fstat(lock).st_nlink:
                break
        try:
            yield folder
        finally:
            _remove(folder)


def _sweep(base: Path) -> None:
    for lock in base.glob(f"{_STAGING_PREFIX}*.lock"):
        # BlockingIOError: a live run holds it. Other errors: another run swept it first, or may.
        with suppress(OSError), locked(lock, wait=False):
            _remove(lock.with_suffix(""))


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path) -> None:
    """Deletes a staging folder; its lock file last, so that a later sweep finds what stays."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        _lock_of(folder).unlink(missing_ok=True)


def _flush(path: str | os.PathLike[str]) -> None:
    """To disk, so that not even a power cut publishes a folder with empty files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
