"""The form that every data source is loaded into: :class:`Dataset`, made of :class:`Split`."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset", "Split"]


@dataclass(frozen=True)
class Split:
    """Examples of a data set; a slice of a split is a split.

    Attributes:
        images: uint8 (n, height, width), 0 is black.
        labels: uint8 or int64 (n,), the class of each image.
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
        name: ``mnist``, the path of a folder, or a TFDS name with its version.
        train: The examples to train on.
        validation: The examples to evaluate on after each epoch; may be empty.
        test: The examples to evaluate the trained model on, once.
        class_names: The name of each class; labels are indices into it.
        paths: The files that the data set was read from; empty for TFDS.
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
        """Compute SHA-256 checksums of the data.

        Returns:
            The checksum of each file, in hex, by the name of the file; for TFDS that of the images
            and labels of each split, by the name of the split.
        """
        with ThreadPoolExecutor() as pool:
            if self.paths:
                names = [path.name for path in self.paths]
                return dict(zip(names, pool.map(_hash_file, self.paths), strict=True))
            splits = {"train": self.train, "validation": self.validation, "test": self.test}
            return dict(zip(splits, pool.map(_hash_split, splits.values()), strict=True))


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_split(split: Split) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
