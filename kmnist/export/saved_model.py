"""Export of a trained model as a version folder: written, verified, then published by one rename.

The SavedModel is loaded again and must give the answers of the trained model before it is
published. Until then it is in a staging folder, which servers ignore.
"""

import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from kmnist import versions
from kmnist.data import Dataset, Split
from kmnist.errors import ExportError, InputError, KmnistError, MissingError
from kmnist.export.card import model_card, write_card
from kmnist.export.compact import compact_saved_model
from kmnist.export.plots import drawing_plots
from kmnist.export.signatures import Endpoint, build_endpoints
from kmnist.metrics import Evaluation
from kmnist.protocol.warmup import read_warmup, write_warmup
from kmnist.training.classifier import PIXEL_RANGE, as_classifier, classifier_for, pixel_weights
from kmnist.training.evaluation import evaluate
from kmnist.training.loop import Run, weights_digest

__all__ = ["export_model", "load_model", "read_keras_file", "require_accuracy"]

_log = logging.getLogger(__name__)

_KERAS_FILE: Final = "model.keras"

# The largest accepted difference of an output: the loaded graph may fuse operations differently.
_TOLERANCE: Final = 1e-5


def export_model(
    model: keras.Model,
    dataset: Dataset,
    base: str | os.PathLike[str] = "models/kmnist",
    *,
    run: Run | None = None,
    evaluation: Evaluation | None = None,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
    min_accuracy: float = 0.0,
    label: str | None = None,
) -> Path:
    """Evaluate a model on the test split and export it as the next version.

    The version folder holds the SavedModel with its signatures (:mod:`kmnist.export.signatures`),
    the warm-up requests, ``model.keras`` for :func:`kmnist.load_model`, the manifest of these files
    (:mod:`kmnist.versions.manifest`), ``model_card.json``, the same as ``README.md``, and plots.
    ``models.config`` beside ``base`` gets an entry for the model if it has none.

    A warning is logged if the model is no better than chance on the test split.

    Args:
        model: A Keras classifier of the images of the data set. Its one input is
            (n, height, width), (n, height, width, 1) or (n, height * width); its one output
            (n, classes), probabilities or logits.
        dataset: The data set that it was trained on.
        base: The folder of versions; its name is the name of the model.
        run: The training run of the model, from :func:`kmnist.train`; its history and settings are
            added to the card and the plots.
        evaluation: The evaluation of the model on the test split; None to evaluate it.
        pixel_range: The range of the pixels that the model was trained on: (0, 255) as in the data,
            (0, 1) or (-1, 1). The exported model takes pixels from 0 to 255 and scales them.
        min_accuracy: The lowest accuracy on the test split with which the model is published.
        label: The label to point at the published version.

    Returns:
        The version folder, ``base``/N.

    Raises:
        ExportError: The accuracy is below ``min_accuracy``, TensorFlow cannot save the model, a layer
            calls Python, or the SavedModel or ``model.keras``, loaded again, gives other answers than
            the model.
        PlotError: The plots could not be drawn.
        InputError: The model is no classifier of the images, or Keras cannot load it again; ``run``
            is not the last training of the model; the data set has no test images; ``base`` is a
            file or has no name; the label is not one; or ``models.config`` cannot be edited.
        OSError: A file cannot be written, for example because the disk is full. After any error
            the staging folder is deleted.

    Example:
        >>> export_model(model, dataset, "models/kmnist", run=run)
        PosixPath('models/kmnist/1')
    """
    versions.check_writable(base)
    if label is not None:
        versions.check_label(label)
    base = Path(base)
    classifier = classifier_for(model, dataset, pixel_range=pixel_range)
    if run is not None and (run.model, run.dataset, run.weights_digest) != (
        model,
        dataset,
        weights_digest(model),
    ):
        raise InputError("the run is not the last training of this model: leave it out")
    if evaluation is None:
        evaluation = evaluate(classifier, dataset.test)
    require_accuracy(evaluation, min_accuracy)
    _warn_of_chance(evaluation, pixel_range)
    kernel = pixel_weights(model, pixel_range=pixel_range)
    with versions.stage(base) as folder:
        history = run.history if run else ()
        with drawing_plots(folder, dataset, evaluation, history, kernel), _export_errors():
            endpoints = build_endpoints(classifier, dataset, kernel)
            _write_saved_model(folder, base.name, endpoints)
            with _keras_errors():
                model.save(folder / _KERAS_FILE)
            # Optimizing a graph takes longer than running it the few times that it is run here. Not
            # for tracing above: the option is stored in the graph and would slow down servers.
            with _without_graph_optimizer():
                _verify_saved_model(folder, endpoints)
                _verify_keras(folder, classifier, dataset.test[:100], pixel_range)
        card = model_card(model, dataset, evaluation, run, pixel_range=pixel_range)
        write_card(folder, card, base.name)
        versions.write_manifest(folder)
        published = base / str(versions.publish(folder, base))
    try:
        with versions.edit(base) as entry:  # adds the entry of the model if there is none
            if label is not None:
                entry.version_labels[label] = int(published.name)
    except (KmnistError, OSError) as error:
        error.add_note(f"{published} is published nevertheless")
        raise
    return published


def load_model(version: str | os.PathLike[str]) -> keras.Model:
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
        >>> model = load_model("models/kmnist/1")
        >>> model.output_shape
        (None, 10)
    """
    version = Path(version)
    if not (version / _KERAS_FILE).is_file():
        raise MissingError(
            f"no {_KERAS_FILE} in {version}; load the folder of a version, such as models/kmnist/1"
        )
    versions.verify_version(version)
    return read_keras_file(version / _KERAS_FILE)


def read_keras_file(path: Path) -> keras.Model:
    """Load a model from a file of Keras's, not compiled.

    Raises:
        InputError: Keras cannot load it.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is not a model in Keras' format, or not all of it: write it with model.save"
        )
    with _keras_errors():
        # Not compiled: a loss of the user's need not be registered.
        return keras.saving.load_model(path, compile=False)


def require_accuracy(evaluation: Evaluation, minimum: float) -> None:
    """Raise an ExportError if the accuracy is below the minimum."""
    if not evaluation.accuracy >= minimum:  # also true of NaN
        raise ExportError(
            f"the test accuracy {evaluation.accuracy:.4f} is below the minimum {minimum}: nothing was "
            "published"
        )


def _warn_of_chance(evaluation: Evaluation, pixel_range: tuple[float, float]) -> None:
    chance = evaluation.confusion.sum(axis=1).max() / evaluation.examples
    if evaluation.accuracy <= chance:
        _log.warning(
            "the test accuracy of %.4f is no better than chance: train longer, or at a lower learning "
            "rate if the cost rises and falls, and check that the model was trained on pixels from %g "
            "to %g (pixel_range)",
            evaluation.accuracy,
            *pixel_range,
        )


def _write_saved_model(folder: Path, name: str, endpoints: Sequence[Endpoint]) -> None:
    # Without `track`, which would store the weights twice: the endpoints bring their own.
    archive = keras.export.ExportArchive()
    for endpoint in endpoints:
        archive.add_endpoint(endpoint.name, endpoint.function, input_signature=[endpoint.spec])
    archive.write_out(os.fspath(folder), verbose=False)
    compact_saved_model(folder)
    first = {each.name: {each.spec.name: each.sample[:1]} for each in endpoints}
    write_warmup(folder, name, first)


@contextmanager
def _export_errors() -> Iterator[None]:
    """Raise an ExportError for whatever the code of a model makes TensorFlow and Keras raise."""
    try:
        yield
    except (KmnistError, OSError):
        raise
    except Exception as error:
        reason = shorten(str(error).strip().partition("\n")[0], 200, placeholder=" …")
        raise ExportError(
            f"the model cannot be exported ({type(error).__name__}: {reason}); nothing was published"
        ) from error


@contextmanager
def _keras_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        # Keras quotes the cause at the end of a long message.
        cause = str(error).rpartition("Exception encountered: ")[2]
        reason = f"{type(error).__name__}: {shorten(cause, 200, placeholder=' …')}"
        raise InputError(
            f"Keras cannot save and load the model ({reason}): decorate the classes of its layers "
            "with @keras.saving.register_keras_serializable(), and load it in Python after importing "
            "their module; replace a Lambda by such a layer"
        ) from error


def _verify_saved_model(folder: Path, endpoints: Sequence[Endpoint]) -> None:
    """Load the SavedModel as a server does, and compare its answers with the trained model's."""
    loaded = tf.saved_model.load(os.fspath(folder)).signatures
    answers = {
        endpoint.name: loaded[endpoint.name](**{endpoint.spec.name: tf.constant(endpoint.sample)})
        for endpoint in endpoints
    }
    for endpoint in endpoints:
        for output, expected in endpoint.expected(answers).items():
            if expected.dtype.is_floating:
                what = f"the {output} of the signature {endpoint.name}"
                _compare(what, answers[endpoint.name][output], expected)
    for name, inputs in read_warmup(folder):
        loaded[name](**{key: tf.constant(values) for key, values in inputs.items()})


def _verify_keras(
    folder: Path, classifier: keras.Model, examples: Split, pixel_range: tuple[float, float]
) -> None:
    copy = as_classifier(read_keras_file(folder / _KERAS_FILE), examples, pixel_range=pixel_range)
    # Layers of augmentation train unless they are told not to.
    answers = (each(examples.images, training=False) for each in (copy, classifier))
    _compare(f"the answers of {_KERAS_FILE}", *answers)


def _compare(what: str, received: Any, expected: Any) -> None:
    difference = np.abs(np.subtract(received, expected)).max()
    if not difference <= _TOLERANCE:  # also true of NaN
        raise ExportError(
            f"{what} differ by {difference:.2g} from the trained model's; "
            "nothing was published: no layer may be random without training=True, and get_config of "
            "each must be complete"
        )


@contextmanager
def _without_graph_optimizer() -> Iterator[None]:
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **options})
