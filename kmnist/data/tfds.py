"""Read a data set from TensorFlow Datasets (TFDS), which is imported on first use."""

import os
import sys
from contextlib import redirect_stdout
from typing import Any, Final

from kmnist.data.datasets import Dataset, Split
from kmnist.errors import InputError, MissingError

__all__ = ["read_tfds"]

_INSTEAD: Final = "or use a folder of IDX files, or 'mnist', which needs no network"


def read_tfds(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Read a TFDS data set of grey images with labels; download it if it is not prepared.

    Args:
        name: A TFDS name, such as ``"fashion_mnist"`` or ``"emnist/digits:3.1.0"``.
        data_dir: The folder of prepared data sets; None for TFDS's default.

    Returns:
        The data set, with an empty validation split.

    Raises:
        InputError: The name is malformed, or the data set does not have the splits train and test
            of grey images of one size, each with a label.
        MissingError: TFDS has no such data set, or it is not prepared and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    features = builder.info.features
    if "image" not in features or "label" not in features:
        raise InputError(
            f"the TFDS data set {name!r} has the features {', '.join(features)}; expected image "
            f"and label; use another one, {_INSTEAD}"
        )
    height, width, channels = features["image"].shape
    if channels != 1 or not height or not width:
        raise InputError(
            f"the TFDS data set {name!r} has images of {features['image'].shape}; expected grey "
            f"images of one size, (height, width, 1); use another one, {_INSTEAD}"
        )
    _prepare(builder, name)
    if not {"train", "test"} <= builder.info.splits.keys():
        raise InputError(
            f"the TFDS data set {name!r} has the splits {', '.join(builder.info.splits)}; "
            f"expected train and test; use another one, {_INSTEAD}"
        )
    train, test = (
        Split(examples["image"][..., 0], examples["label"])
        for examples in tfds.as_numpy(builder.as_dataset(["train", "test"], batch_size=-1))
    )
    class_names = tuple(features["label"].names)
    return Dataset(builder.info.full_name, train, train[:0], test, class_names)


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        raise MissingError(
            f"TFDS has no data set {name!r}; look up its name in the TFDS catalog, {_INSTEAD}"
        ) from None
    except Exception as error:  # the parser of names raises errors of many classes
        raise InputError(
            f"received {name!r}; expected a TFDS name such as 'fashion_mnist' or "
            f"'emnist/digits:3.1.0'; correct it, {_INSTEAD}"
        ) from error


def _prepare(builder: Any, name: str) -> None:
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with redirect_stdout(sys.stderr):  # stdout belongs to the caller
            builder.download_and_prepare()
    except Exception as error:  # network, file system, or the code of the data set
        raise MissingError(
            f"the TFDS data set {name!r} is not prepared in {builder.data_path} and cannot be "
            f"downloaded ({type(error).__name__}); prepare it on a machine with a network and pass "
            f"its folder as the data directory, {_INSTEAD}"
        ) from error
