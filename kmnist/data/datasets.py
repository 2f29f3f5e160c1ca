"""The form that every data source is loaded into: :class:`Dataset`, made of :class:`Split`."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.checksums import hash_file
from kmnist.errors import InputError

__all__ = ["MAX_CLASSES", "Dataset", "Split"]

# The confusion matrix, which each version's model card contains, has a million numbers then.
MAX_CLASSES: Final = 1_000

# A server sends a name with every prediction.
_MAX_NAME_LENGTH: Final = 256


@dataclass(frozen=True)
class Split:
    """Examples of a data set; a slice of a split is a split.

    Attributes:
        images: uint8 (n, height, width), 0 is black.
        labels: Integers (n,), the class of each image.

    Raises:
        InputError: An array has another type, dtype or shape. Values are not read, so that the
            check of memory-mapped images is free.
    """

    images: NDArray[np.uint8]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        images, labels = _describe(self.images), _describe(self.labels)
        if not isinstance(self.images, np.ndarray) or self.images.dtype != np.uint8:
            raise InputError(
                f"received images {images}; expected uint8 (n, height, width), 0 for black and 255 "
                "for white; scale them to 0 to 255 and convert them with .astype(np.uint8)"
            )
        if self.images.ndim != 3 or 0 in self.images.shape[1:]:
            raise InputError(
                f"received images {images}; expected uint8 (n, height, width); reshape them, as in "
                "images.reshape(-1, 28, 28)"
            )
        if not isinstance(self.labels, np.ndarray) or self.labels.ndim != 1:
            raise InputError(
                f"received labels {labels}; expected integers (n,), the class of each image; "
                "convert one-hot labels with labels.argmax(axis=1)"
            )
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise InputError(
                f"received labels {labels}; expected integers (n,), the class of each image; "
                "convert them with .astype(np.int64)"
            )
        if len(self.images) != len(self.labels):
            raise InputError(
                f"received {len(self.images)} images and {len(self.labels)} labels; expected one "
                "label per image"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> "Split":
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class Dataset:
    """A data set: its splits and the names of its classes.

    Attributes:
        name: ``mnist``, the path of a folder, or a TFDS name with its version.
        train: The examples to train on.
        validation: The examples to evaluate on after each epoch; may be empty.
        test: The examples to evaluate the trained model on, once.
        class_names: The name of each class; labels are indices into it.
        paths: The files that the data set was read from; empty for TFDS.

    Raises:
        InputError: There is no training image, the splits differ in the size of their images, a
            label is not an index into ``class_names``, or the class names are not 2 to 1,000
            different strings of 1 to 256 characters.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    paths: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        self._check_class_names()
        classes = len(self.class_names)
        if not len(self.train):
            raise InputError(f"{self.name} has no training image; expected at least one")
        for name, split in self._splits().items():
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise InputError(
                    f"{self.name} has {name} images of {split.images.shape[1:]} pixels, but "
                    f"training images of {self.image_shape}; expected the same size in all splits"
                )
            if not len(split):
                continue
            for label in (int(split.labels.min()), int(split.labels.max())):
                if not 0 <= label < classes:
                    raise InputError(
                        f"{self.name} has the {name} label {label}; expected 0 to {classes - 1}, "
                        f"because it has {classes} class names; correct the labels or the names"
                    )

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.train.images.shape[1:]
        return height, width

    def checksums(self) -> dict[str, str]:
        """Compute SHA-256 checksums of the data.

        Returns:
            The checksum of each file, in hex, by the name of the file; for TFDS that of the images
            and labels of each split, by the name of the split.
        """
        with ThreadPoolExecutor() as pool:
            if self.paths:
                names = [path.name for path in self.paths]
                return dict(zip(names, pool.map(hash_file, self.paths), strict=True))
            splits = self._splits()
            return dict(zip(splits, pool.map(_hash_split, splits.values()), strict=True))

    def _splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def _check_class_names(self) -> None:
        names = self.class_names
        if not 2 <= len(names) <= MAX_CLASSES:
            raise InputError(
                f"{self.name} has {len(names)} class name{'s' * (len(names) != 1)}; expected 2 to "
                f"{MAX_CLASSES}, a row and a column of the confusion matrix each; correct them"
            )
        for name in names:
            if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME_LENGTH:
                shown = f"of {len(name)} characters" if isinstance(name, str) else repr(name)
                raise InputError(
                    f"{self.name} has a class name {shown}; expected strings of 1 to "
                    f"{_MAX_NAME_LENGTH} characters, because each prediction contains one"
                )
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise InputError(
                f"{self.name} has the class name {name!r} {times} times; expected different names"
            )


def _hash_split(split: Split) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


def _describe(values: object) -> str:
    if isinstance(values, np.ndarray):
        return f"{values.dtype} {values.shape}"
    return f"of type {type(values).__name__}"
