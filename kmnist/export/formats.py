"""Other formats of a model beside its SavedModel: Keras's own, and LiteRT (TensorFlow Lite)."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.checks import FORMATS
from kmnist.data import Split
from kmnist.errors import ExportError, InputError, MissingError
from kmnist.training.classifier import as_classifier
from kmnist.versions import verify_version

__all__ = ["KERAS_FILE", "TFLITE_FILE", "check_formats", "load", "write_keras", "write_tflite"]

KERAS_FILE: Final = "model.keras"
TFLITE_FILE: Final = "model.tflite"

# Without the delegate, which prints a line when it is created.
_PLAIN: Final = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

# The largest accepted difference of a probability.
_TOLERANCE: Final = 1e-5


def load(version: str | os.PathLike[str]) -> keras.Model:
    """Load the Keras model of an exported version.

    A SavedModel cannot be loaded by Keras 3, so each version has the model in Keras's format, too.

    Args:
        version: The version folder, as :func:`kmnist.export_model` returns it.

    Returns:
        The model that was exported, not compiled.

    Raises:
        MissingError: The folder has no ``model.keras``.
        InputError: Keras cannot load it, as if a class of its layers is not registered.
        KmnistError: A file of the version differs from the manifest.

    Example:
        >>> model = load("models/kmnist/1")
        >>> model.output_shape
        (None, 10)
    """
    path = Path(version) / KERAS_FILE
    if not path.is_file():
        raise MissingError(
            f"{path} does not exist; expected a version folder, such as models/kmnist/1, whose "
            "version was exported by kmnist"
        )
    verify_version(version)
    try:
        return _load_keras(path)
    except Exception as error:
        raise InputError(
            f"{path} cannot be loaded ({_reason(error)}); first import the module that registers "
            "the classes of its layers"
        ) from error


def check_formats(formats: Collection[str]) -> None:
    """Check the names of further formats.

    Raises:
        InputError: One of them is unknown.
    """
    named = isinstance(formats, list | tuple | set | frozenset)
    if not named or not all(name in FORMATS for name in formats):
        raise InputError(
            f"received formats {formats!r}; expected a list of {', '.join(FORMATS)}, or none"
        )


def write_keras(model: keras.Model, folder: Path, classifier: keras.Model, examples: Split) -> None:
    """Write a model as ``model.keras`` and compare the answers of what Keras loads from it.

    Args:
        model: The model.
        folder: The folder to write to.
        classifier: :func:`kmnist.training.classifier.as_classifier` of the model.
        examples: The images to compare the answers for, and their labels.

    Raises:
        InputError: Keras cannot save the model, or not load it again.
        ExportError: The loaded model differs.
    """
    path = folder / KERAS_FILE
    try:
        with warnings.catch_warnings():
            # Keras converts variables in a way that NumPy 2 has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            model.save(path)
        loaded = _load_keras(path)
    except OSError:
        raise
    except Exception as error:
        raise InputError(
            f"received a model that Keras cannot save and load again ({_reason(error)}); expected "
            "layers of Keras, or registered classes with get_config; decorate each of them with "
            "@keras.saving.register_keras_serializable()"
        ) from error
    received = as_classifier(loaded, examples, trained=False)(examples.images, training=False)
    _compare(KERAS_FILE, received, classifier(examples.images, training=False))


def write_tflite(classifier: keras.Model, folder: Path, images: NDArray[np.uint8]) -> None:
    """Write a classifier as ``model.tflite`` and compare its answers.

    Args:
        classifier: A model of :func:`kmnist.training.classifier.as_classifier`.
        folder: The folder to write to.
        images: uint8 (n, height, width), the images to compare the answers for.

    Raises:
        InputError: TensorFlow cannot convert the model.
        ExportError: The answers differ.
    """
    path = folder / TFLITE_FILE
    try:
        classifier.export(path, format="litert", verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of the move to the package ai_edge_litert
            interpreter = tf.lite.Interpreter(os.fspath(path), experimental_op_resolver_type=_PLAIN)
        (received,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(received["index"], images.shape)
        interpreter.allocate_tensors()
    except OSError:
        raise
    except Exception as error:
        raise InputError(
            f"received a model that cannot be converted to tflite ({_reason(error)}); export it "
            "without this format"
        ) from error
    interpreter.set_tensor(received["index"], images)
    interpreter.invoke()
    answers = interpreter.get_tensor(returned["index"])
    _compare(TFLITE_FILE, answers, classifier(images, training=False))


def _load_keras(path: Path) -> keras.Model:
    # Not compiled: a loss of the user's need not be registered.
    return keras.saving.load_model(path, compile=False)


def _compare(name: str, received: Any, expected: Any) -> None:
    difference = np.abs(np.subtract(received, expected, dtype=np.float64)).max()
    if not difference <= _TOLERANCE:  # also true of NaN
        raise ExportError(
            f"the answers of {name} differ from the model's by {difference:.2g}; expected at most "
            f"{_TOLERANCE:.0e}; nothing was published"
        )


def _reason(error: Exception) -> str:
    # Keras quotes the cause at the end of a long message.
    text = str(error).rpartition("Exception encountered: ")[2]
    return f"{type(error).__name__}: {' '.join(text.split())[:160]}"
