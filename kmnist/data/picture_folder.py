"""Read a data set from a folder of pictures, in a folder for each class.

Either ``train/CLASS/*.png`` and ``test/CLASS/*.png``, or ``CLASS/*.png``, which is split by a hash
of the files' content. What was read is kept as IDX files, for as long as no file changes.
"""

import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from kmnist.data.dataset import MAX_CLASSES, Dataset, Split
from kmnist.data.idx import write_idx
from kmnist.data.idx_folder import FILES, read_idx_folder
from kmnist.data.picture_files import SUFFIXES, Pictures, read_picture_files
from kmnist.errors import InputError, KmnistError
from kmnist.files import locked

__all__ = ["is_picture_folder", "read_picture_folder"]

_SPLITS: Final = ("train", "test")

# The share of the pictures that become the test split of a single folder of classes.
_TEST_SHARE: Final = 0.2

_NOTES: Final = "notes.json"
_PARTIAL: Final = "partial-"
_KEPT: Final = re.compile(rf"[0-9a-f]{{16}}|{_PARTIAL}.*")

# Part of the fingerprint: increase it if the same files are read differently.
_FORMAT: Final = 1

_EXPECTED: Final = (
    "expected train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png, with a folder for each of at "
    "least two classes"
)


# Name, size and time of change of a file; any change of its content or name sets the time.
_Status: TypeAlias = tuple[str, int, int]


@dataclass
class _Listing:
    """The files of a folder of pictures.

    Attributes:
        class_names: The names of the class folders, in order; numbers by their value.
        parts: The names of the files by that of their split, "" without one, and their class.
        fingerprint: Changes with the name, the size and the time of change of any file.
        ignored: Files and folders that are not read.
    """

    class_names: tuple[str, ...] = ()
    parts: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    fingerprint: str = ""
    ignored: list[str] = field(default_factory=list)


def is_picture_folder(folder: Path) -> bool:
    """Return whether a folder has the folders train and test, or one with pictures."""
    if all((folder / name).is_dir() for name in _SPLITS):
        return True
    with suppress(OSError):
        for inner in _folders(folder):
            with suppress(OSError), os.scandir(inner) as entries:
                if any(_is_picture(entry.name) for entry in entries):
                    return True
    return False


def read_picture_folder(
    folder: Path, *, cache: str | os.PathLike[str] | None = None, grey: bool = False
) -> Dataset:
    """Read a folder of pictures.

    Args:
        folder: The folder. Names that begin with a dot are skipped.
        cache: The folder in which to keep the IDX files, as ``NAME.idx``; None for the one that
            ``folder`` is in.
        grey: Convert pictures with colours to their brightness.

    Returns:
        The data set, with an empty validation split. The training images are in the order of a
        hash of their files, so that the first ones are a sample of all classes. ``notes`` says
        what was split, scaled and ignored.

    Raises:
        ColourError: A picture has colours, and ``grey`` is not set.
        InputError: A file cannot be read or decoded, a class has no pictures, there are fewer than
            two classes or too many, or the test split has a class that the training split lacks.
    """
    listing = _scan(folder, grey=grey)
    home = _cache_of(folder, cache)
    kept = _load(home / listing.fingerprint)
    if kept is not None:
        return replace(kept, name=str(folder), paths=(), class_names=listing.class_names)
    dataset = _read(folder, listing, grey=grey)
    try:
        if len(dataset.class_names) > 256:
            raise OSError("labels of IDX files are below 256")  # noqa: TRY301 - as a full disk
        _store(home, listing.fingerprint, dataset)
    except OSError as error:
        note = f"not kept for the next time in {home} ({error.strerror or error})"
        return replace(dataset, notes=(*dataset.notes, note))
    return dataset


def _scan(folder: Path, *, grey: bool) -> _Listing:
    """List the files of a folder and check its structure."""
    listing = _Listing()
    splits = all((folder / name).is_dir() for name in _SPLITS)
    digest = hashlib.blake2b(f"{_FORMAT} {grey}".encode(), digest_size=8)
    try:
        if splits:
            listing.ignored += [
                path for path in _folders(folder) if os.path.basename(path) not in _SPLITS
            ]
        for split in _SPLITS if splits else ("",):
            listing.parts[split] = {}
            for path in _folders(folder / split, listing.ignored):
                files = _files(path, listing.ignored)
                name = os.path.basename(path)
                names, *numbers = zip(*files, strict=True)
                listing.parts[split][name] = list(names)
                digest.update(os.fsencode("/".join(("", split, name, *names))))
                digest.update(np.array(numbers, np.int64).tobytes())
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}); make it readable or remove it"
        ) from None
    train, *test = listing.parts.values()
    _check_classes(folder, train)
    if test and not test[0]:
        raise InputError(f"{folder / 'test'} has no class folder; {_EXPECTED}")
    for name in test[0] if test else ():
        if name not in train:
            raise InputError(
                f"{folder / 'test' / name} is a class that {folder / 'train'} does not have; "
                "expected training pictures of each class; add them or remove the folder"
            )
    listing.class_names = tuple(
        sorted(train, key=lambda name: (int(name) if name.isdecimal() else math.inf, name))
    )
    listing.fingerprint = digest.hexdigest()
    return listing


def _folders(folder: Path, ignored: list[str] | None = None) -> Iterator[str]:
    """Yield the folders in a folder in order; append the names of its files to ``ignored``."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if stat.S_ISDIR(entry.stat().st_mode):
                yield entry.path
            elif ignored is not None:
                ignored.append(entry.path)


def _files(folder: str, ignored: list[str]) -> list[_Status]:
    """Return the pictures in the folder of a class, by name."""
    found: list[_Status] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            status = entry.stat()
            if stat.S_ISREG(status.st_mode) and _is_picture(name):
                found.append((name, status.st_size, status.st_ctime_ns))
            elif stat.S_ISDIR(status.st_mode):
                raise InputError(
                    f"{entry.path} is a folder in the folder of a class; {_EXPECTED}; move or "
                    "remove it"
                )
            elif _is_picture(name):
                raise InputError(f"{entry.path} is not a regular file; remove it")
            else:
                ignored.append(entry.path)
    if not found:
        raise InputError(
            f"{folder} has no picture; expected a class with at least one file named "
            f"{', '.join(f'*.{suffix}' for suffix in sorted(SUFFIXES))}; add some or remove the folder"
        )
    return sorted(found)


def _is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in SUFFIXES


def _check_classes(folder: Path, classes: dict[str, list[str]]) -> None:
    if not 2 <= len(classes) <= MAX_CLASSES:
        named = f", {next(iter(classes))}" if len(classes) == 1 else ""
        raise InputError(
            f"{folder} has {len(classes)} class folder{'s' * (len(classes) != 1)}{named}; "
            f"{_EXPECTED}, at most {MAX_CLASSES}"
        )
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{folder} has a class folder {name!r}; expected a name in UTF-8; rename the folder"
            ) from None


def _read(folder: Path, listing: _Listing, *, grey: bool) -> Dataset:
    paths: list[str] = []
    numbers: list[int] = []
    tested: list[bool] = []
    for split, classes in listing.parts.items():
        for number, name in enumerate(listing.class_names):
            files = classes.get(name, [])
            paths += [os.path.join(folder, split, name, file) for file in files]
            numbers += [number] * len(files)
            tested += [split == "test"] * len(files)
    pictures = read_picture_files(paths, grey=grey)
    labels = np.array(numbers, np.uint8 if len(listing.class_names) <= 256 else np.uint16)
    is_test = np.array(tested)
    notes = list(_notes(listing, pictures))
    if "" in listing.parts:
        is_test = pictures.hashes < _TEST_SHARE
        notes.append(
            f"split by a hash of each file: {is_test.sum():,} of {len(paths):,} pictures are for "
            "the test"
        )
        trained = set(labels[~is_test].tolist())
        for number, name in enumerate(listing.class_names):
            if number not in trained:
                raise InputError(
                    f"{folder / name} has too few pictures: the split by their hashes leaves none "
                    "to train on; add some, or split them yourself into train/CLASS and test/CLASS"
                )
        if not is_test.any():
            raise InputError(
                f"{folder} has only {len(paths)} pictures: the split by their hashes leaves none "
                "to test on; add some, or split them yourself into train/CLASS and test/CLASS"
            )
    order = np.argsort(pictures.hashes, kind="stable")
    train, test = (
        Split(pictures.images[chosen], labels[chosen])
        for chosen in (order[~is_test[order]], order[is_test[order]])
    )
    return Dataset(str(folder), train, train[:0], test, listing.class_names, notes=tuple(notes))


def _notes(listing: _Listing, pictures: Pictures) -> Iterator[str]:
    if len(pictures.sizes) > 1:
        height, width = pictures.images.shape[1:]
        yield (
            f"pictures of {len(pictures.sizes)} sizes were scaled to {height}×{width}, the most "
            "frequent one"
        )
    if listing.ignored:
        yield f"not read: {len(listing.ignored)} other files and folders, such as {listing.ignored[0]}"


def _cache_of(folder: Path, cache: str | os.PathLike[str] | None) -> Path:
    folder = folder.resolve()
    if cache is None:
        return folder.with_name(f"{folder.name}.idx")
    # Folders of the same name share a cache folder.
    mark = hashlib.blake2b(os.fsencode(folder), digest_size=4).hexdigest()
    return Path(cache).expanduser() / f"{folder.name}-{mark}.idx"


def _load(kept: Path) -> Dataset | None:
    """Return what was kept of a folder; None if there is nothing or it is damaged."""
    try:
        notes = json.loads((kept / _NOTES).read_text("utf-8"))
        return replace(read_idx_folder(kept), notes=tuple(notes))
    except (KmnistError, OSError, ValueError):
        return None


def _store(home: Path, fingerprint: str, dataset: Dataset) -> None:
    """Write a data set as IDX files, published by one rename; remove those of earlier states."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".lock"):
        if _load(home / fingerprint) is not None:
            return  # another process was faster
        for earlier in home.iterdir():
            if _KEPT.fullmatch(earlier.name):
                shutil.rmtree(earlier)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=home))
        try:
            partial.chmod(0o755)
            train, test = dataset.train, dataset.test
            for name, values in zip(
                FILES, (train.images, train.labels, test.images, test.labels), strict=True
            ):
                write_idx(partial / name, values)
            (partial / _NOTES).write_text(json.dumps(dataset.notes), "utf-8")
            partial.rename(home / fingerprint)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
