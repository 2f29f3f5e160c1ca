"""Read a data set from TensorFlow Datasets (TFDS), which is imported on first use.

TFDS replaces ``builtins.__import__`` while it is imported and used, which breaks the imports of
other threads. Nothing else may be imported meanwhile.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from kmnist.data.dataset import Dataset, Split, without_colours
from kmnist.errors import ColourError, InputError, MissingError

__all__ = ["read_tfds"]

_INSTEAD: Final = "or use a folder of IDX files or pictures, or 'mnist', which needs no network"

# In seconds; a network that drops packets gives no other sign.
_CONNECT_TIMEOUT: Final = 10

# TFDS's own 10 take three and a half minutes for a host that does not answer, these 3 seconds.
_RETRIES: Final = 4


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
        InputError: The name is malformed, the prepared files are damaged, or the data set does not
            have the splits train and test of images of one size, each with a label.
        MissingError: TFDS has no such data set, it is not prepared and cannot be downloaded, or a
            module that TFDS needs for it is not installed.
    """
    import tensorflow  # noqa: F401, ICN001 - complete, also if another thread is importing it
    import tensorflow_datasets as tfds

    with _requiring_modules(name):
        builder = _builder(name, data_dir)
        features = builder.info.features
        _check_features(features, name, grey=grey)
        if not builder.data_path.exists():
            _prepare(builder, name)
        if not {"train", "test"} <= builder.info.splits.keys():
            raise InputError(
                f"the TFDS data set {name!r} has the splits {', '.join(builder.info.splits)}; "
                f"expected train and test; use another one, {_INSTEAD}"
            )
        try:
            splits = tfds.as_numpy(builder.as_dataset(["train", "test"], batch_size=-1))
        except Exception as error:  # TensorFlow's, TFDS's or the decoder's
            raise InputError(
                f"the TFDS data set {name!r} in {builder.data_path} cannot be read "
                f"({_reason(error)}); delete that folder to prepare it again, {_INSTEAD}"
            ) from error
    train, test = (
        Split(without_colours(examples["image"], name, grey=grey), examples["label"])
        for examples in splits
    )
    class_names = tuple(features["label"].names)
    return Dataset(builder.info.full_name, train, train[:0], test, class_names)


@contextmanager
def _requiring_modules(name: str) -> Iterator[None]:
    """Name a module that is missing, at whatever step TFDS imports it."""
    try:
        yield
    except Exception as error:
        module = _missing_module(error)
        if module is None:
            raise
        raise MissingError(
            f"the TFDS data set {name!r} needs the Python module {module}, which is not installed; "
            f"install it with pip install {module}, {_INSTEAD}"
        ) from error


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


def _check_features(features: Any, name: str, *, grey: bool) -> None:
    import tensorflow_datasets as tfds

    if "image" not in features or "label" not in features:
        raise InputError(
            f"the TFDS data set {name!r} has the features {', '.join(features)}; expected image "
            f"and label; use another one, {_INSTEAD}"
        )
    image, label = features["image"], features["label"]
    shape = image.shape
    bytes_of_one_size = len(shape) == 3 and None not in shape and image.np_dtype == np.uint8
    if bytes_of_one_size and shape[-1] == 3 and not grey:
        raise ColourError(
            f"the TFDS data set {name!r} has images with colours, uint8 {shape}; expected grey "
            f"ones; load it as grey, {_INSTEAD}"
        )
    if not bytes_of_one_size or shape[-1] not in (1, 3):
        raise InputError(
            f"the TFDS data set {name!r} has images of {np.dtype(image.np_dtype)} {shape}; "
            f"expected grey images of one size, uint8 (height, width, 1); use another one, {_INSTEAD}"
        )
    if not isinstance(label, tfds.features.ClassLabel):
        raise InputError(
            f"the TFDS data set {name!r} has labels that are not classes ({label}); expected one "
            f"ClassLabel per image; use another one, {_INSTEAD}"
        )


def _prepare(builder: Any, name: str) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    if not (sys.stderr and sys.stderr.isatty()):
        tfds.disable_progress_bar()
    retries = downloader.MAX_RETRIES
    try:
        _require_hosts(builder.url_infos or ())
        downloader.MAX_RETRIES = _RETRIES
        with redirect_stdout(sys.stderr):  # stdout belongs to the caller
            builder.download_and_prepare()
    except Exception as error:  # network, file system, or the code of the data set
        raise MissingError(
            f"the TFDS data set {name!r} is not prepared in {builder.data_path} and cannot be "
            f"downloaded ({_reason(error)}); prepare it on a machine with a network and pass "
            f"its folder as the data directory, {_INSTEAD}"
        ) from error
    finally:
        downloader.MAX_RETRIES = retries


def _require_hosts(urls: Any) -> None:
    """Raise an error if a host of the URLs does not answer: TFDS itself has no timeout."""
    import requests

    for host, url in {urlsplit(url).netloc: url for url in urls if url.startswith("http")}.items():
        try:
            requests.get(url, stream=True, timeout=_CONNECT_TIMEOUT).close()
        except requests.RequestException as error:
            cause: BaseException = error
            while inner := cause.__cause__ or cause.__context__:
                cause = inner
            raise ConnectionError(f"{host} does not answer: {cause}") from error


def _reason(error: BaseException) -> str:
    """Return the text of an error in one line, or its class if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _missing_module(error: BaseException | None) -> str | None:
    """Return the name of the missing module that an error or one of its causes is about."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    return error.name if error else None
