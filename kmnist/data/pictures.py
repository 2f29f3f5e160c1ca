"""Read a data set from a folder of pictures, in a folder for each class.

Either ``train/CLASS/*.png`` beside the same in ``val`` or ``test`` or both, or ``CLASS/*.png``. What
was read is kept beside the folder until one of the files changes. TensorFlow is imported on first use.
"""

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.data.dataset import Dataset, Split, in_order
from kmnist.errors import ColourError, InputError
from kmnist.files import replacing

__all__ = ["MAX_SIDE", "is_picture_folder", "read_picture_folder"]

# A model of larger images has too many weights; the exported graph reduces larger pictures too.
MAX_SIDE: Final = 1024

_SUFFIXES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_SPLITS: Final = ("train", "val", "test")

# The share of the pictures that become the test split if there is none.
_TEST_SHARE: Final = 0.2

# Part of the fingerprint: increase it if the same files are read differently.
_FORMAT: Final = 2

_BATCH: Final = 100
_MAX_THREADS: Final = 16
_HASHES: Final = 2**40


class _File(NamedTuple):
    split: str
    class_name: str
    name: str
    size: int
    changed: int


class _Pictures(NamedTuple):
    """Decoded pictures.

    Attributes:
        images: uint8 (n, height, width).
        hashes: float64 (n,), from 0 to 1, a hash of the content of each file.
        coloured: bool (n,), whether a picture had colours.
        scaled: bool (n,), whether it had another size.
    """

    images: NDArray[np.uint8]
    hashes: NDArray[np.float64]
    coloured: NDArray[np.bool_]
    scaled: NDArray[np.bool_]


def is_picture_folder(folder: Path) -> bool:
    """Return whether a folder has folders of splits, or one with pictures."""
    classes = [entry.path for entry in _scan(folder) if entry.is_dir()]
    return bool(_find_splits(folder)) or any(
        _is_picture(entry.name) for inner in classes for entry in _scan(inner)
    )


def read_picture_folder(
    folder: Path,
    *,
    cache: str | os.PathLike[str] | None = None,
    grey: bool = False,
    image_size: tuple[int, int] | None = None,
) -> Dataset:
    """Read a folder of pictures.

    A JPEG is turned upright by its EXIF orientation, as in the exported model. Of an animation, the
    first frame is read.

    Args:
        folder: The folder. Names that begin with a dot are skipped.
        cache: The folder to keep the images in; None for the one that ``folder`` is in.
        grey: Convert pictures with colours to their brightness.
        image_size: Height and width of the images: pictures are scaled with antialiasing to fit,
            keeping the aspect ratio, and centred on the mean tone of their rim. None if all
            pictures have one size.

    Returns:
        The data set. The images of each split are in the order of a hash of their files, so that
        the first ones are a sample of all classes. ``notes`` says what was split, scaled and
        ignored.

    Raises:
        ColourError: A picture has colours, and ``grey`` is not set.
        InputError: A file cannot be decoded or has transparent pixels, pictures differ in size or
            are larger than 1,024 pixels and ``image_size`` is not set, a class has no pictures, or
            it has none to train on.
        OSError: The folder cannot be read.
    """
    ignored: list[str] = []
    files = list(_list_files(folder, ignored))
    if not files:
        raise InputError(f"{folder} has no folder with the pictures of a class")
    fingerprint = hashlib.blake2b(repr((_FORMAT, files)).encode()).hexdigest()
    at = folder.resolve()
    kept = Path(cache or at.parent).expanduser() / f"{at.name}.cache.npz"
    pictures = _load(kept, fingerprint)
    if pictures is None or not _is_as_asked(pictures, grey=grey, image_size=image_size):
        paths = [os.path.join(folder, file.split, file.class_name, file.name) for file in files]
        pictures = _read(paths, grey=grey, image_size=image_size)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as file:
                np.savez(file, fingerprint=fingerprint, **pictures._asdict())
        except OSError as error:
            ignored.append(f"{kept} ({error.strerror})")
    return _split(folder, files, pictures, ignored)


def _find_splits(folder: Path) -> list[str]:
    """Return the splits that are folders; none without train and another one, which are classes."""
    splits = [split for split in _SPLITS if (folder / split).is_dir()]
    return splits if "train" in splits and len(splits) > 1 else []


def _list_files(folder: Path, ignored: list[str]) -> Iterator[_File]:
    """Yield the pictures by split and class; append what is none to ``ignored``."""
    splits = _find_splits(folder)
    if splits:
        ignored += [entry.path for entry in _scan(folder) if entry.name not in splits]
    for split in splits or [""]:
        for inner in _scan(folder / split):
            if not inner.is_dir():
                ignored.append(inner.path)
                continue
            entries = _scan(inner.path)
            pictures = [entry for entry in entries if _is_picture(entry.name)]
            ignored += [entry.path for entry in entries if not _is_picture(entry.name)]
            for entry in pictures:
                status = entry.stat()
                yield _File(split, inner.name, entry.name, status.st_size, status.st_ctime_ns)
            if not pictures:
                raise InputError(
                    f"{inner.path} has no pictures ({', '.join(_SUFFIXES)}): each class needs a folder "
                    "of its own, as in train/CLASS/*.png or CLASS/*.png"
                )


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        shown = (entry for entry in entries if not entry.name.startswith("."))
        return sorted(shown, key=lambda entry: entry.name)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _read(paths: Sequence[str], *, grey: bool, image_size: tuple[int, int] | None) -> _Pictures:
    height, width = image_size or _size_of(paths[0])
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"{paths[0]} is larger than {MAX_SIDE:,} pixels: choose an image size to scale all to"
        )
    decode = _decoder(height, width)
    other = f"does not have the size of {paths[0]}: choose an image size to scale all to"

    def read(start: int) -> _Pictures:
        batch = paths[start : start + _BATCH]
        pictures, transparent = decode(batch)
        for flags, refused, reason in (
            (transparent, InputError, "has transparent pixels: lay it on a background"),
            (pictures.coloured & (not grey), ColourError, "has colours: convert to greyscale"),
            (pictures.scaled & (image_size is None), InputError, other),
        ):
            if flags.any():
                raise refused(f"{batch[int(flags.argmax())]} {reason}")
        return pictures

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        batches = list(pool.map(read, range(0, len(paths), _BATCH)))
    return _Pictures(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def _size_of(path: str) -> tuple[int, int]:
    import tensorflow as tf

    from kmnist.pictures.decode import decode_picture

    try:
        height, width, _ = decode_picture(Path(path).read_bytes()).shape
    except tf.errors.OpError:
        raise InputError(
            f"{path} cannot be read as PNG, JPEG, GIF, BMP or WebP: save it again or remove it"
        ) from None
    return height, width


@lru_cache(maxsize=1)  # tracing takes a second
def _decoder(
    height: int, width: int
) -> Callable[[Sequence[str]], tuple[_Pictures, NDArray[np.bool_]]]:
    """Return a function from the paths of files to pictures and whether each has transparent pixels."""
    import tensorflow as tf

    from kmnist.pictures.decode import decode_picture, grey_and_opacity
    from kmnist.pictures.frame import fit
    from kmnist.pictures.measure import rim

    # Of the fields of a PNG's header: the size, 8 bits per pixel, grey, without opacity.
    plain = b"IHDR" + struct.pack(">IIBB", width, height, 8, 0)
    image, flag = tf.TensorSpec((height, width), tf.uint8), tf.TensorSpec((), tf.bool)
    in_turn = partial(tf.map_fn, parallel_iterations=1)  # batches are decoded in parallel

    def decode_plain(content: Any) -> Any:
        return tf.ensure_shape(tf.io.decode_png(content, 1)[..., 0], (height, width))

    def decode_any(content: Any) -> tuple[Any, ...]:
        pixels = decode_picture(content)
        grey, alpha = grey_and_opacity(pixels)
        shape = tf.shape(pixels)
        colours = pixels[..., : tf.where(shape[2] > 2, 3, 1)]
        return (
            fit(grey, height, width, tf.reduce_mean(tf.concat(rim(grey), 0))),
            tf.reduce_any(colours != colours[..., :1]),
            tf.reduce_any(shape[:2] != (height, width)),
            tf.reduce_any(alpha < 1),
        )

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def decode(paths: Any) -> Any:
        contents = in_turn(tf.io.read_file, paths)
        no = tf.zeros(tf.shape(contents), tf.bool)
        found = tf.cond(
            tf.reduce_all(tf.strings.substr(contents, 12, len(plain)) == plain),
            lambda: (in_turn(decode_plain, contents, fn_output_signature=image), no, no, no),
            lambda: in_turn(decode_any, contents, fn_output_signature=(image, flag, flag, flag)),
        )
        return tf.strings.to_hash_bucket_fast(contents, _HASHES), *found

    def read(paths: Sequence[str]) -> tuple[_Pictures, NDArray[np.bool_]]:
        try:
            arrays = [each.numpy() for each in decode(tf.constant(list(map(os.fsencode, paths))))]
        except tf.errors.OpError:
            for path in paths:
                _size_of(path)  # names the file that is damaged or cannot be read
            raise
        hashes, images, coloured, scaled, transparent = arrays
        return _Pictures(images, hashes / _HASHES, coloured, scaled), transparent

    return read


def _split(
    folder: Path, files: Sequence[_File], pictures: _Pictures, ignored: Sequence[str]
) -> Dataset:
    class_names = sorted({file.class_name for file in files}, key=in_order)
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([numbers[file.class_name] for file in files])
    splits = np.array([file.split or "train" for file in files])
    notes = []
    if pictures.scaled.any():
        height, width = pictures.images.shape[1:]
        notes.append(f"pictures scaled to {height}×{width}: {pictures.scaled.sum():,}")
    if "test" not in splits:
        for number in range(len(class_names)):
            _choose_test(splits, np.flatnonzero(labels == number), pictures.hashes)
        count = (splits == "test").sum()
        notes.append(f"pictures chosen for the test by a hash of each file: {count:,}")
        if untested := sorted(
            set(class_names) - {class_names[n] for n in labels[splits == "test"]}
        ):
            notes.append(f"classes with too few pictures to test: {', '.join(untested)}")
    if ignored:
        notes.append(
            f"files and folders that were not used: {len(ignored):,}, such as {ignored[0]}"
        )
    trained = set(labels[splits == "train"].tolist())
    missing = [name for name in class_names if numbers[name] not in trained]
    if missing or "test" not in splits:
        raise InputError(
            f"{folder} has too few pictures{f' of {missing[0]}' if missing else ''} to train and to "
            "test on: add some, or split them yourself into train/CLASS and test/CLASS"
        )
    order = np.argsort(pictures.hashes, kind="stable")
    train, validation, test = (
        Split(pictures.images[chosen], labels[chosen])
        for chosen in (order[splits[order] == split] for split in _SPLITS)
    )
    return Dataset(str(folder), train, validation, test, tuple(class_names), notes=tuple(notes))


def _choose_test(
    splits: NDArray[np.str_], members: NDArray[np.int64], hashes: NDArray[np.float64]
) -> None:
    """Move the training pictures of a class with the lowest hashes to the test: one of two at least."""
    train = members[splits[members] == "train"]
    count = min(max(1, (hashes[train] < _TEST_SHARE).sum()), len(train) - 1)
    splits[train[np.argsort(hashes[train], kind="stable")][: max(0, count)]] = "test"


def _load(kept: Path, fingerprint: str) -> _Pictures | None:
    """Return what was kept; None if that is damaged or of other files."""
    try:
        with kept.open("rb") as raw, np.load(raw) as file:
            if file["fingerprint"] == fingerprint:
                return _Pictures(*(file[name] for name in _Pictures._fields))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        pass
    return None


def _is_as_asked(pictures: _Pictures, *, grey: bool, image_size: tuple[int, int] | None) -> bool:
    of_size = image_size == pictures.images.shape[1:] if image_size else not pictures.scaled.any()
    return of_size and (grey or not pictures.coloured.any())
