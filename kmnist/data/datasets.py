"""A source of images → :class:`Dataset`: the bundled MNIST, a folder of IDX files, or TFDS."""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmnist.data.idx import read_idx
from kmnist.errors import InputError, MissingError

__all__ = ["Dataset", "Split", "load_dataset"]

VALIDATION_SIZE = 5_000

# The four files of an IDX folder, each raw or with .gz behind it.
_TRAIN_IMAGES = "train-images-idx3-ubyte"
_TRAIN_LABELS = "train-labels-idx1-ubyte"
_TEST_IMAGES = "t10k-images-idx3-ubyte"
_TEST_LABELS = "t10k-labels-idx1-ubyte"
_CLASSES = "classes.txt"


@dataclass(frozen=True)
class Split:
    """Some of a data set's examples.

    Attributes:
        images: uint8 (n, height, width), 0 the darkest.
        labels: uint8 or int64 (n,): the class of each image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> "Split":
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class Dataset:
    """A data set: its splits and the names of its classes.

    Attributes:
        name: What it was asked for as: ``mnist``, a folder, or a TFDS name with its version.
        train: What the model learns from.
        validation: What its progress is measured on; empty if nothing was held out.
        test: What the finished model is measured on, once.
        class_names: The name of each class; a label is an index into it.
        paths: The files it was read from; empty for TFDS.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    paths: tuple[Path, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.train.images.shape[1:]
        return height, width

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file, by its name; for TFDS of each split's images and labels."""
        with ThreadPoolExecutor() as pool:
            if self.paths:
                return dict(
                    zip(
                        [p.name for p in self.paths],
                        pool.map(_sha256_file, self.paths),
                        strict=True,
                    )
                )
            splits = {"train": self.train, "validation": self.validation, "test": self.test}
            return dict(zip(splits, pool.map(_sha256_split, splits.values()), strict=True))


def load_dataset(
    source: str | os.PathLike[str] = "mnist",
    *,
    validation_size: int = VALIDATION_SIZE,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a data set of grey images.

    Args:
        source: ``"mnist"``, the bundled files; a folder of the four IDX files, raw or ``.gz``,
            with a ``classes.txt`` (one name a line) if its classes have names; or any TFDS name,
            such as ``"fashion_mnist"``. ``"tfds:mnist"`` takes even MNIST from TFDS.
        validation_size: How many of the first training images are held out for validation.
        data_dir: Where TFDS finds or puts prepared data; TFDS's own default if None.

    Returns:
        The data set, its images uint8 (n, height, width).

    Raises:
        InputError: a file is damaged or does not fit the others, labels are out of range, or
            ``validation_size`` leaves nothing to train on.
        MissingError: the folder or one of its files is not there, or TFDS does not know or cannot
            get the data set.
    """
    source = os.fspath(source)
    folder = Path(source).expanduser()
    paths: tuple[Path, ...] = ()
    if source == "mnist":
        name = source
        train, test, class_names, paths = _read_folder(Path(str(files("kmnist") / "data/mnist")))
    elif folder.is_dir() and (os.sep in source or _find(folder, _TRAIN_IMAGES)):
        name = str(folder)
        train, test, class_names, paths = _read_folder(folder)
    elif source.startswith(("/", ".", "~")):
        raise MissingError(
            f"there is no folder {source}; expected a folder of IDX files, 'mnist' or a TFDS name"
        )
    else:
        name, train, test, class_names = _read_tfds(source.removeprefix("tfds:"), data_dir)
    if not 0 <= validation_size < len(train):
        raise InputError(
            f"received a validation size of {validation_size}; {name} has {len(train)} training "
            f"images, so it has to be from 0 to {len(train) - 1}"
        )
    validation, train = train[:validation_size], train[validation_size:]
    return Dataset(name, train, validation, test, class_names, paths)


def _read_folder(folder: Path) -> tuple[Split, Split, tuple[str, ...], tuple[Path, ...]]:
    names = (_TRAIN_IMAGES, _TRAIN_LABELS, _TEST_IMAGES, _TEST_LABELS)
    paths = tuple(_require(folder, name) for name in names)
    with ThreadPoolExecutor() as pool:  # inflating releases the GIL
        train_images, train_labels, test_images, test_labels = pool.map(
            lambda path, ndim: read_idx(path, ndim=ndim), paths, (3, 1, 3, 1)
        )
    for images, labels, at in ((train_images, train_labels, 0), (test_images, test_labels, 2)):
        if len(images) != len(labels):
            raise InputError(
                f"{paths[at]} holds {len(images)} images, but {paths[at + 1]} {len(labels)} "
                "labels; expected one label an image"
            )
    if test_images.shape[1:] != train_images.shape[1:]:
        raise InputError(
            f"{paths[2]} holds images of {test_images.shape[1:]} pixels, but {paths[0]} of "
            f"{train_images.shape[1:]}; expected the same size in both"
        )
    named = folder / _CLASSES
    if named.exists():
        class_names = _read_class_names(named)
        paths = (*paths, named)
    else:
        class_names = tuple(str(label) for label in range(int(train_labels.max()) + 1))
    if len(class_names) < 2:
        raise InputError(f"{folder} has {len(class_names)} class; expected at least two")
    for labels, path in ((train_labels, paths[1]), (test_labels, paths[3])):
        if labels.max() >= len(class_names):
            raise InputError(
                f"{path} has a label {labels.max()}; expected labels from 0 to "
                f"{len(class_names) - 1}, as {named.name if named.exists() else paths[1].name} "
                f"has {len(class_names)} classes"
            )
    return Split(train_images, train_labels), Split(test_images, test_labels), class_names, paths


def _find(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if path.is_file()), None)


def _require(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path:
        return path
    raise MissingError(
        f"{folder} has neither {name} nor {name}.gz; expected the four IDX files {_TRAIN_IMAGES}, "
        f"{_TRAIN_LABELS}, {_TEST_IMAGES} and {_TEST_LABELS}, each raw or .gz"
    )


def _read_class_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text("utf-8").split("\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}); expected one class name a line") from None
    names = tuple(name.strip() for name in names if name.strip())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path} names {twice!r} twice; expected a different name a line")
    return names


def _read_tfds(
    name: str, data_dir: str | os.PathLike[str] | None
) -> tuple[str, Split, Split, tuple[str, ...]]:
    import tensorflow_datasets as tfds

    way_out = "or give a folder of IDX files, or 'mnist', which needs no network"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        raise MissingError(
            f"TFDS knows no data set {name!r}; look its name up in the TFDS catalog, {way_out}"
        ) from None
    except Exception as error:  # TFDS raises whatever its parser of names stumbles on
        raise InputError(
            f"{name!r} is not a name that TFDS can read; expected one such as 'fashion_mnist' or "
            f"'emnist/digits:3.1.0', {way_out}"
        ) from error
    features = builder.info.features
    if "image" not in features or "label" not in features:
        raise InputError(f"the TFDS data set {name!r} has no images with a label; {way_out}")
    height, width, channels = features["image"].shape
    if channels != 1 or not height or not width:
        raise InputError(
            f"the TFDS data set {name!r} has images of {features['image'].shape}; expected grey "
            f"images of one size, (height, width, 1); {way_out}"
        )
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with redirect_stdout(sys.stderr):  # TFDS talks of its downloads; our callers own stdout
            builder.download_and_prepare()
    except Exception as error:  # of the network, of the file system, or of a data set's own code
        raise MissingError(
            f"the TFDS data set {name!r} is not prepared in {builder.data_path} and cannot be "
            f"downloaded ({type(error).__name__}); prepare it where there is a network and "
            f"point --data-dir at it, {way_out}"
        ) from error
    if not {"train", "test"} <= builder.info.splits.keys():
        raise InputError(
            f"the TFDS data set {name!r} has the splits {', '.join(builder.info.splits)}; "
            f"expected train and test; {way_out}"
        )
    train, test = (
        Split(examples["image"][..., 0], examples["label"])
        for examples in tfds.as_numpy(builder.as_dataset(["train", "test"], batch_size=-1))
    )
    return builder.info.full_name, train, test, tuple(features["label"].names)


def _sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_split(split: Split) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
