"""Export of a trained model as a version folder: written, verified, then published by one rename.

The SavedModel is loaded again and must give the answers of the trained model before it is
published. Until then it is in a staging folder, which servers ignore.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf

from kmnist.errors import ExportError, KmnistError
from kmnist.export.model_card import model_card
from kmnist.export.plots import drawing_plots
from kmnist.export.signatures import ServingSignature, serving_signatures
from kmnist.metrics import Evaluation
from kmnist.pictures import background_tone, ink_extent
from kmnist.protocol.warmup import read_warmup, write_warmup
from kmnist.training.loop import Run
from kmnist.versions import check_writable, ensure_model_config, publish, stage, write_manifest

__all__ = ["export_model"]

# The number of training images that the exported signatures are verified with.
_SAMPLES: Final = 20

# The largest accepted difference of an output: the loaded graph may fuse operations differently.
_TOLERANCE: Final = 1e-5


def export_model(
    run: Run, evaluation: Evaluation, base: str | os.PathLike[str] = "models/kmnist"
) -> Path:
    """Export the model of a training run as the next version.

    The version folder holds the SavedModel with its signatures (:mod:`kmnist.export.signatures`),
    the warm-up requests, the manifest of these files (:mod:`kmnist.versions.manifest`),
    ``model_card.json`` and four plots. ``models.config`` beside ``base`` gets an entry for the model
    if it has none.

    Args:
        run: The training run, from :func:`kmnist.train`.
        evaluation: The evaluation of its model on the test split, from :func:`kmnist.evaluate`;
            shown in the model card and the plots.
        base: The folder of versions; its name is the name of the model.

    Returns:
        The version folder, ``base``/N.

    Raises:
        ExportError: The SavedModel, loaded again, gives other answers than the model.
        PlotError: The plots could not be drawn.
        InputError: ``base`` is a file or has no name, or ``models.config`` cannot be edited.
        KmnistError: ``base`` or the folder of ``models.config`` cannot be written to. If the message
            begins with "published", only ``models.config`` is missing the entry.
        OSError: The version cannot be written. As after every other error, nothing is published and
            the staging folder is deleted.

    Example:
        >>> export_model(run, evaluation, "models/kmnist")
        PosixPath('models/kmnist/1')
    """
    check_writable(base)
    base = Path(base)
    dataset = run.dataset
    extent = ink_extent(dataset.train.images)
    background = background_tone(dataset.train.images)
    with stage(base) as folder:
        with drawing_plots(
            folder,
            run.history,
            evaluation,
            weights=run.model.layers[-1].get_weights()[0].reshape(*dataset.image_shape, -1),
            test=dataset.test,
            class_names=dataset.class_names,
        ):
            signatures = serving_signatures(
                run.model,
                dataset.class_names,
                dataset.train.images[:_SAMPLES],
                extent=extent,
                background=background,
            )
            _write_saved_model(run.model, folder, signatures)
            write_warmup(
                folder, base.name, {s.name: {s.spec.name: s.sample[:1]} for s in signatures}
            )
            # Optimizing a graph takes longer than running it the few times that it is run here. Not for
            # tracing above: the option is stored in the graph and would slow down servers.
            with _without_graph_optimizer():
                _verify(folder, signatures)
            card = model_card(run, evaluation, extent=extent, background=background)
            (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
        write_manifest(folder)
        published = base / str(publish(folder, base))
    try:
        ensure_model_config(base)
    except (KmnistError, OSError) as error:
        raise KmnistError(f"published {published}, but {error}") from None
    return published


def _write_saved_model(
    model: keras.Sequential, folder: Path, signatures: Sequence[ServingSignature]
) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    for signature in signatures:
        archive.add_endpoint(signature.name, signature.function, input_signature=[signature.spec])
    archive.write_out(os.fspath(folder), verbose=False)


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
