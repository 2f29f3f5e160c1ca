"""Export of a trained model as a version folder: written, verified, then published by one rename.

The SavedModel is loaded again and must give the answers of the trained model before it is
published. Until then it is in a staging folder, which servers ignore.
"""

import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf

from kmnist.data import Dataset
from kmnist.errors import ExportError, InputError, KmnistError
from kmnist.export.compact import compact_saved_model
from kmnist.export.formats import check_formats, write_keras, write_tflite
from kmnist.export.model_card import model_card
from kmnist.export.plots import drawing_plots
from kmnist.export.readme import readme
from kmnist.export.signatures import ServingSignature, reading_graph, serving_signatures
from kmnist.metrics import Evaluation
from kmnist.pictures.frame import background_tone, ink_extent
from kmnist.protocol.warmup import read_warmup, write_warmup
from kmnist.training.classifier import classifier_for, pixel_weights
from kmnist.training.evaluation import evaluate
from kmnist.training.loop import Run, weights_digest
from kmnist.versions import check_writable, ensure_model_config, publish, stage, write_manifest

__all__ = ["export_evaluated", "export_model", "prepare_export"]

# The number of training images that the exported signatures are verified with.
_SAMPLES: Final = 20

# The largest accepted difference of an output: the loaded graph may fuse operations differently.
_TOLERANCE: Final = 1e-5


def export_model(
    model: keras.Model,
    dataset: Dataset,
    base: str | os.PathLike[str] = "models/kmnist",
    *,
    run: Run | None = None,
    formats: Collection[str] = (),
) -> Path:
    """Evaluate a model on the test split and export it as the next version.

    The version folder holds the SavedModel with its signatures (:mod:`kmnist.export.signatures`),
    the warm-up requests, ``model.keras`` for :func:`kmnist.load`, the manifest of these files
    (:mod:`kmnist.versions.manifest`), ``model_card.json``, the same as ``README.md``, and plots.
    ``models.config`` beside ``base`` gets an entry for the model if it has none.

    Args:
        model: A Keras classifier of the images of the data set. Its one input is
            (n, height, width), (n, height, width, 1) or (n, height * width), pixels from 0 to 255;
            its one output (n, classes), probabilities or logits.
        dataset: The data set that it was trained on.
        base: The folder of versions; its name is the name of the model.
        run: The training run of the model, from :func:`kmnist.train`; its history and settings are
            added to the card and the plots.
        formats: Further formats to write: ``"tflite"`` for ``model.tflite``, which maps uint8
            (n, height, width) to probabilities.

    Returns:
        The version folder, ``base``/N.

    Raises:
        ExportError: The SavedModel, or another format, loaded again, gives other answers than the
            model.
        PlotError: The plots could not be drawn.
        InputError: The model is no classifier of the images, its answers to equal images differ, or
            Keras cannot load it again; ``run`` is of another model, data set or weights; the data
            set has no test images; ``base`` is a file or has no name; or ``models.config`` cannot
            be edited.
        KmnistError: ``base`` or the folder of ``models.config`` cannot be written to. If the message
            begins with "published", only ``models.config`` is missing the entry.
        OSError: The version cannot be written. As after every other error, nothing is published and
            the staging folder is deleted.

    Example:
        >>> export_model(model, dataset, "models/kmnist", run=run)
        PosixPath('models/kmnist/1')
    """
    return export_evaluated(model, dataset, None, base, run=run, formats=formats)


def export_evaluated(
    model: keras.Model,
    dataset: Dataset,
    evaluation: Evaluation | None,
    base: str | os.PathLike[str],
    *,
    run: Run | None = None,
    formats: Collection[str] = (),
) -> Path:
    """Export a model as :func:`export_model` does, without evaluating it again.

    Args:
        model: The model.
        dataset: The data set.
        evaluation: The evaluation of the model on the test split; None to evaluate it.
        base: The folder of versions.
        run: The training run.
        formats: Further formats.

    Returns:
        The version folder.

    Raises:
        KmnistError: As for :func:`export_model`.
    """
    check_writable(base)
    check_formats(formats)
    base = Path(base)
    classifier = classifier_for(model, dataset)
    if run is not None and not (
        isinstance(run, Run)
        and run.model is model
        and run.dataset is dataset
        and run.weights_digest == weights_digest(model)
    ):
        raise InputError(
            "received a run of another model or data set, or of other weights of the model; expected "
            "the run that trained it last; leave it out"
        )
    if evaluation is None:
        evaluation = evaluate(classifier, dataset.test)
    samples = np.ascontiguousarray(dataset.train.images[:_SAMPLES])
    kernel = pixel_weights(model)
    extent = ink_extent(dataset.train.images)
    background = background_tone(dataset.train.images)
    with stage(base) as folder:
        with drawing_plots(
            folder,
            run.history if run else (),
            evaluation,
            weights=None if kernel is None else kernel.numpy().reshape(*dataset.image_shape, -1),
            test=dataset.test,
            class_names=dataset.class_names,
        ) as plots:
            write_keras(model, folder, classifier, dataset.train[:_SAMPLES])
            signatures = serving_signatures(
                classifier,
                dataset.class_names,
                samples,
                kernel=kernel,
                extent=extent,
                background=background,
            )
            _write_saved_model(folder, signatures)
            if formats:
                write_tflite(classifier, folder, samples)
            write_warmup(
                folder, base.name, {s.name: {s.spec.name: s.sample[:1]} for s in signatures}
            )
            # Optimizing a graph takes longer than running it the few times that it is run here. Not for
            # tracing above: the option is stored in the graph and would slow down servers.
            with _without_graph_optimizer():
                _verify(folder, signatures)
            card = model_card(model, dataset, evaluation, run, extent=extent, background=background)
            (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
            (folder / "README.md").write_text(readme(card, base.name, plots), "utf-8")
        write_manifest(folder)
        published = base / str(publish(folder, base))
    try:
        ensure_model_config(base)
    except (KmnistError, OSError) as error:
        raise KmnistError(f"published {published}, but {error}") from None
    return published


def prepare_export(dataset: Dataset) -> None:
    """Trace what :func:`export_model` needs besides the model, for example beside the training."""
    images = dataset.train.images
    reading_graph(dataset.image_shape, ink_extent(images), background_tone(images))


def _write_saved_model(folder: Path, signatures: Sequence[ServingSignature]) -> None:
    # Without `track`, which would store the weights twice: the endpoints bring their own.
    archive = keras.export.ExportArchive()
    for signature in signatures:
        archive.add_endpoint(signature.name, signature.function, input_signature=[signature.spec])
    # In a notebook, TensorFlow prints the path of the assets, twice, which is that of staging.
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        archive.write_out(os.fspath(folder), verbose=False)
    finally:
        logger.setLevel(level)
    compact_saved_model(folder)


def _verify(folder: Path, signatures: Sequence[ServingSignature]) -> None:
    """Load the SavedModel as a server does, and compare its answers with the expected ones."""
    loaded = tf.saved_model.load(os.fspath(folder)).signatures
    answers = {
        signature.name: loaded[signature.name](
            **{signature.spec.name: tf.constant(signature.sample)}
        )
        for signature in signatures
    }
    for signature in signatures:
        for output, values in signature.expected(answers).items():
            difference = np.abs(answers[signature.name][output] - values).max()
            if not difference <= _TOLERANCE:  # also true of NaN
                raise ExportError(
                    f"{output} of the exported signature {signature.name} differs from the trained "
                    f"model by {difference:.2g}; expected at most {_TOLERANCE:.0e}; nothing was "
                    "published"
                )
    names = []
    for name, inputs in read_warmup(folder):
        loaded[name](**{key: tf.constant(values) for key, values in inputs.items()})
        names.append(name)
    expected = [signature.name for signature in signatures]
    if names != expected:
        raise ExportError(f"the warm-up file has requests for {names}; expected {expected}")


@contextmanager
def _without_graph_optimizer() -> Iterator[None]:
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **options})
