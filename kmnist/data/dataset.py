"""The form that every data source is loaded into: :class:`Dataset`, made of :class:`Split`."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmnist.checks import MAX_SEED, MAX_VALIDATION_SIZE, integer
from kmnist.errors import ColourError, InputError
from kmnist.files import hash_file
from kmnist.pictures import BRIGHTNESS

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["MAX_CLASSES", "Dataset", "Split", "without_colours"]

# The confusion matrix, which each version's model card contains, has a million numbers then.
MAX_CLASSES: Final = 1_000

# Without surrogates, which stand for bytes that are not UTF-8 in the name of a folder.
_CLASS_NAME: Final = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}")

_IMAGES: Final = (
    "uint8 (n, height, width), 0 for black and 255 for white: multiply values from 0 to 1 by 255, "
    "and convert them with astype(np.uint8)"
)
_LABELS: Final = (
    "integers (n,), the class of each image, as of one_hot.argmax(axis=1) or labels.astype(int)"
)


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
        _check_array("images", self.images, np.uint8, 3, _IMAGES)
        _check_array("labels", self.labels, np.integer, 1, _LABELS)
        if 0 in self.images.shape[1:]:
            raise InputError(f"images must have pixels, not the shape {self.images.shape}")
        if len(self.images) != len(self.labels):
            raise InputError(
                f"there must be one label per image, not {len(self.labels)} labels for "
                f"{len(self.images)} images"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> "Split":
        return Split(self.images[part], self.labels[part])

    def __repr__(self) -> str:
        height, width = self.images.shape[1:]
        return f"Split({len(self):,} of {height}×{width})"

    def batches(
        self, batch_size: int, *, shuffle: bool = False, seed: int = 0
    ) -> "tf.data.Dataset":
        """Return the examples in batches, as Keras' ``fit`` takes them; imports TensorFlow.

        Args:
            batch_size: The number of examples per batch; the last batch may have fewer.
            shuffle: Whether the order is another one in every epoch. A new process repeats the
                sequence of orders.
            seed: The seed of the orders.

        Returns:
            A ``tf.data.Dataset`` of images uint8 (batch, height, width) and labels int64 (batch,).
            Only the images of a few batches are copied.

        Raises:
            InputError: The batch size or the seed is not an integer or out of range.

        Example:
            >>> batches = load_dataset("digits").train.batches(100)
            >>> [len(labels) for images, labels in batches]
            [100, 100, 100, 100, 50]
        """
        batch_size = integer("batch_size", batch_size, 1, 2**31 - 1)
        seed = integer("seed", seed, 0, MAX_SEED)
        import tensorflow as tf

        height, width = self.images.shape[1:]

        def gather(chosen: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
            return self.images[chosen], self.labels[chosen].astype(np.int64)

        @tf.autograph.experimental.do_not_convert
        def batch(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = tf.numpy_function(gather, [chosen], (tf.uint8, tf.int64))
            return tf.ensure_shape(images, (None, height, width)), tf.ensure_shape(labels, (None,))

        numbers = tf.data.Dataset.range(len(self))
        if shuffle and len(self):
            # Shuffling the numbers of all examples takes little memory and mixes them fully.
            numbers = numbers.shuffle(len(self), seed, reshuffle_each_iteration=True)
        return numbers.batch(batch_size).map(batch).prefetch(2)


@dataclass(frozen=True)
class Dataset:
    """A data set: its splits and the names of its classes.

    Attributes:
        name: ``mnist``, the name of a folder or file, or a TFDS name with its version.
        train: The examples to train on.
        validation: The examples to evaluate on after each epoch; may be empty.
        test: The examples to evaluate the trained model on, once.
        class_names: The name of each class; labels are indices into it.
        paths: The files that the data set was read from; empty for TFDS, arrays and pictures.
        notes: What was decided while it was read, such as how pictures were split.

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
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_class_names()
        classes = len(self.class_names)
        if not len(self.train):
            raise InputError(f"{self.name} has no training images")
        for name, split in self.splits().items():
            if split.images.shape[1:] != self.image_shape:
                raise InputError(
                    f"{self.name} has {name} images of {split.images.shape[1:]} pixels, but training "
                    f"images of {self.image_shape}: all must have the same size"
                )
            for label in (split.labels.min(), split.labels.max()) if len(split) else ():
                if not 0 <= label < classes:
                    raise InputError(
                        f"{self.name} has the {name} label {label}, but {classes} class names: labels "
                        f"must be from 0 to {classes - 1}"
                    )

    def __repr__(self) -> str:
        sizes = " / ".join(f"{len(split):,}" for split in self.splits().values())
        height, width = self.image_shape
        return f"Dataset({self.name}: {sizes} of {height}×{width}, {len(self.class_names)} classes)"

    @classmethod
    def from_arrays(
        cls,
        x_train: ArrayLike,
        y_train: ArrayLike,
        x_test: ArrayLike,
        y_test: ArrayLike,
        *,
        class_names: Iterable[str] | None = None,
        validation_size: int | None = None,
        grey: bool = False,
        name: str = "arrays",
    ) -> "Dataset":
        """Make a data set from arrays like those of Keras' data sets.

        Args:
            x_train: The training images, uint8 (n, height, width) or (n, height, width, 1).
            y_train: The class of each training image, integers (n,) or (n, 1), or names (n,).
            x_test: The test images.
            y_test: The class of each test image.
            class_names: The names of the classes; None for those among the training labels, sorted,
                or for integers "0", "1" and so on up to the highest one.
            validation_size: The number of training images to hold out; see :meth:`hold_out`.
            grey: Convert images with colours, uint8 (n, height, width, 3), to their brightness.
            name: What the data set is called in model cards and messages.

        Returns:
            The data set.

        Raises:
            ColourError: Images have colours, and ``grey`` is not set.
            InputError: An array has another dtype or shape, they do not fit together, or a label is
                none of a class.

        Example:
            >>> random = np.random.default_rng(0)
            >>> images, labels = random.integers(0, 256, (50, 8, 8), np.uint8), np.arange(50) % 2
            >>> Dataset.from_arrays(images, labels, images, labels, class_names=["dark", "light"])
            Dataset(arrays: 45 / 5 / 50 of 8×8, 2 classes)
        """
        labels = [_as_labels(y_train), _as_labels(y_test)]
        if class_names is None and len({each.dtype.kind == "U" for each in labels}) == 2:
            raise InputError(f"{name} has labels that are text and labels that are numbers")
        classes = _class_names(labels[0], name) if class_names is None else tuple(class_names)
        train, test = (
            Split(
                without_colours(np.asarray(images), name, grey=grey), _numbered(each, classes, name)
            )
            for images, each in zip((x_train, x_test), labels, strict=True)
        )
        return cls(name, train, train[:0], test, classes).hold_out(validation_size)

    def hold_out(self, size: int | None = None) -> "Dataset":
        """Return the data set with the first training images as its validation split.

        Args:
            size: The number of images; None for a tenth of the training images, at most 5,000.

        Raises:
            InputError: ``size`` is not an integer, or leaves no image to train on.
        """
        train = self.train
        if size is None:
            size = min(MAX_VALIDATION_SIZE, len(train) // 10)
        size = integer("validation_size", size, 0, len(train) - 1)
        return replace(self, train=train[size:], validation=train[:size])

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.train.images.shape[1:]
        return height, width

    def splits(self) -> dict[str, Split]:
        """Return the splits by their names: train, validation and test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def checksums(self) -> dict[str, str]:
        """Compute SHA-256 checksums of the data.

        Returns:
            The checksum of each file, in hex, by the name of the file; without files that of the
            images and labels of each split, by the name of the split.
        """
        with ThreadPoolExecutor() as pool:
            if self.paths:
                names = [path.name for path in self.paths]
                return dict(zip(names, pool.map(hash_file, self.paths), strict=True))
            splits = self.splits()
            return dict(zip(splits, pool.map(_hash_split, splits.values()), strict=True))

    def _check_class_names(self) -> None:
        names = self.class_names
        if not 2 <= len(names) <= MAX_CLASSES:
            raise InputError(
                f"{self.name} has {len(names)} class names: there must be 2 to {MAX_CLASSES}, a row "
                "and a column of the confusion matrix each"
            )
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise InputError(f"{self.name} has the class name {name!r} {times} times")
        for name in names:
            if not _CLASS_NAME.fullmatch(name):
                raise InputError(
                    f"{self.name} has the class name {name[:20]!r}: names must be 1 to 256 "
                    "characters without control characters: each prediction contains one"
                )


def without_colours(images: NDArray[Any], source: str, *, grey: bool) -> NDArray[Any]:
    """Return images without an axis of channels.

    Args:
        images: Images (n, height, width, 1) or (n, height, width, 3) of red, green and blue; images
            of any other shape are returned as they are.
        source: Where they are from, for the message.
        grey: Whether images with colours become their brightness.

    Raises:
        ColourError: An image has colours, and ``grey`` is not set.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        return images
    flat = images[..., 0]
    if images.shape[-1] == 1 or (images == flat[..., None]).all():
        return flat
    if not grey:
        raise ColourError(f"{source} has images with colours: convert to greyscale")
    # An image at a time, because floats take four times the memory of bytes.
    brightness = np.empty(flat.shape, np.uint8)
    for image, colours in zip(brightness, images, strict=True):
        image[:] = np.rint(colours @ np.array(BRIGHTNESS, np.float32))
    return brightness


def _as_labels(labels: ArrayLike) -> NDArray[Any]:
    array = np.asarray(labels)
    array = array.astype(str) if array.dtype.kind == "S" else array
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _class_names(labels: NDArray[Any], name: str) -> tuple[str, ...]:
    """Return the names of the classes of training labels, which are names or numbers."""
    if labels.dtype.kind == "U":
        return tuple(sorted(np.unique(labels).tolist(), key=in_order))
    if labels.dtype.kind not in "iu" or not labels.size:
        return ("0", "1")  # what the labels are is checked with the images
    for label in (labels.min(), labels.max()):
        if not 0 <= label < MAX_CLASSES:
            raise InputError(
                f"{name} has the training label {label}: labels must be from 0 to {MAX_CLASSES - 1}"
            )
    return tuple(map(str, range(int(labels.max()) + 1)))


def in_order(class_name: str) -> tuple[float, str]:
    """Return the key that sorts the names of classes: numbers by their value, before words."""
    return int(class_name) if class_name.isdecimal() else math.inf, class_name


def _numbered(labels: NDArray[Any], class_names: tuple[str, ...], name: str) -> NDArray[Any]:
    """Return names of classes as their numbers, and numbers as they are."""
    if labels.dtype.kind != "U":
        return labels
    numbers = {class_name: number for number, class_name in enumerate(class_names)}
    if unknown := set(labels.tolist()) - numbers.keys():
        raise InputError(f"{name} has the label {min(unknown)!r}, which is not among its classes")
    return np.array([numbers[label] for label in labels.tolist()])


def _check_array(name: str, values: object, dtype: type, ndim: int, expected: str) -> None:
    if isinstance(values, np.ndarray):
        if np.issubdtype(values.dtype, dtype) and values.ndim == ndim:
            return
        found = f"{values.dtype} {values.shape}"
    else:
        found = f"of type {type(values).__name__}"
    raise InputError(f"{name} must be {expected}, not {found}")


def _hash_split(split: Split) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
