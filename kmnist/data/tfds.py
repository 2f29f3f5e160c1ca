"""Read a data set from TensorFlow Datasets (TFDS), which is imported on first use.

TFDS replaces ``builtins.__import__`` while it is imported and used, which breaks the imports of
other threads. Nothing else may be imported meanwhile.
"""

import io
import os
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from kmnist.checks import one_line
from kmnist.data.dataset import Dataset, Split, without_colours
from kmnist.errors import ColourError, InputError, MissingError

__all__ = ["read_tfds"]


def read_tfds(
    name: str, data_dir: str | os.PathLike[str] | None = None, *, grey: bool = False
) -> Dataset:
    """Read a TFDS data set of images with labels; download it if it is not prepared.

    Args:
        name: A TFDS name, such as ``"fashion_mnist"`` or ``"emnist/digits:3.1.0"``.
        data_dir: The folder of prepared data sets; None for TFDS's default.
        grey: Convert images with colours to their brightness.

    Returns:
        The data set, with an empty validation split.

    Raises:
        ColourError: The images have colours, and ``grey`` is not set.
        InputError: The data set does not have the splits train and test of images of one size, each
            with a label.
        MissingError: TFDS has no such data set, cannot download it, or cannot read it.
    """
    import tensorflow  # noqa: F401, ICN001 - complete, also if another thread is importing it
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
        features = dict(builder.info.features)
        _check_features(features, name, grey=grey)
        if not builder.data_path.exists():
            _download(builder)
        splits = tfds.as_numpy(builder.as_dataset(["train", "test"], batch_size=-1))
    except InputError:
        raise
    except tfds.core.registered.DatasetNotFoundError:
        raise MissingError(
            f"TFDS has no data set {name!r}: look up its name in the TFDS catalog"
        ) from None
    except Exception as error:  # TFDS's, TensorFlow's, the network's, or the data set's own
        raise MissingError(f"TFDS cannot load {name!r}: {one_line(error)}") from error
    train, test = (
        Split(without_colours(examples["image"], name, grey=grey), examples["label"])
        for examples in splits
    )
    class_names = tuple(features["label"].names)
    return Dataset(builder.info.full_name, train, train[:0], test, class_names)


def _check_features(features: Any, name: str, *, grey: bool) -> None:
    """Refuse a data set before it is downloaded."""
    import tensorflow_datasets as tfds

    image, label = features.get("image"), features.get("label")
    shape: tuple[int | None, ...] = getattr(image, "shape", ())
    if (
        len(shape) != 3
        or None in shape
        or shape[-1] not in (1, 3)
        or image.np_dtype != np.uint8
        or not isinstance(label, tfds.features.ClassLabel)
    ):
        raise InputError(
            f"the TFDS data set {name!r} does not have an image, uint8 of one size, and a label that "
            f"is a class, but {one_line(features)}"
        )
    if shape[-1] == 3 and not grey:
        raise ColourError(f"the TFDS data set {name!r} has colours: convert to greyscale")


def _download(builder: Any) -> None:
    import tensorflow_datasets as tfds

    sys.stderr.write(f"TFDS downloads {builder.info.full_name} to {builder.data_path}\n")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with redirect_stdout(io.StringIO()):  # stdout belongs to the caller
        builder.download_and_prepare()
