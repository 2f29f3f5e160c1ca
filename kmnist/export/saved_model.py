"""A trained model → a version folder: written, checked as a server would load it, published.

A version appears under its number by one rename, after it was loaded again and gave the answers
of the model it came from. Until then it lies in a staging folder that no server looks at.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.errors import ExportError
from kmnist.export.model_card import model_card
from kmnist.export.plots import drawing_plots
from kmnist.export.signatures import INPUTS, serving_functions
from kmnist.metrics import Evaluation
from kmnist.pictures import ink_extent
from kmnist.protocol.warmup import read_warmup, write_warmup
from kmnist.training.loop import Run
from kmnist.versions import publish, stage
from kmnist.versions.models_config import ensure_model_config

__all__ = ["export_model"]

# How many training images the exported signatures are compared on.
_SAMPLES = 20

# The loaded graph does the same arithmetic, but its operations may be fused otherwise.
_TOLERANCE = 1e-5


def export_model(
    run: Run, evaluation: Evaluation, base: str | os.PathLike[str] = "models/kmnist"
) -> Path:
    """Exports the model of ``run`` as the next version under ``base``.

    Besides the SavedModel with its signatures (:mod:`kmnist.export.signatures`), the folder holds
    the warm-up requests, ``model_card.json`` and the plots. The first version also makes
    ``models.config`` beside ``base``, for TensorFlow Serving.

    Args:
        run: From :func:`kmnist.train`.
        evaluation: Of its model on the test split, for the model card and the plots.
        base: The folder of versions; its name is the model's name.

    Returns:
        The version folder, ``base``/N.

    Raises:
        ExportError: the written model, loaded again, does not give the same answers.
        InputError: ``base`` is a file.
        OSError: it cannot be written. Nothing is published, and what was written is removed.
    """
    base = Path(base)
    images = run.dataset.train.images[:_SAMPLES]
    extent = ink_extent(run.dataset.train.images)
    with stage(base) as folder:
        with drawing_plots(
            folder,
            run.history,
            evaluation,
            weights=run.model.layers[-1].get_weights()[0].reshape(*run.dataset.image_shape, -1),
            test=run.dataset.test,
            class_names=run.dataset.class_names,
        ):
            _write_saved_model(run, folder, extent)
            inputs = _encode(images) | {"classes": np.arange(len(run.dataset.class_names))}
            write_warmup(
                folder,
                base.name,
                {name: {INPUTS[name]: values[:1]} for name, values in inputs.items()},
            )
            # What is asked once is not worth optimising first, which takes longer than asking.
            with _without_graph_optimizer():
                _verify(run.model, folder, inputs)
            card = model_card(run, evaluation, extent=extent)
            (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
        version = publish(folder, base)
    ensure_model_config(base)
    return base / str(version)


def _write_saved_model(run: Run, folder: Path, extent: float | None) -> None:
    archive = keras.export.ExportArchive()
    archive.track(run.model)
    functions = serving_functions(run.model, run.dataset.class_names, extent=extent)
    for signature, (function, spec) in functions.items():
        archive.add_endpoint(signature, function, input_signature=[spec])
    archive.write_out(os.fspath(folder), verbose=False)


def _encode(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The same images as each signature takes them."""
    png = [tf.io.encode_png(image[..., None]).numpy() for image in images]
    return {
        "serving_default": images,
        "pixels": np.array([image.tobytes() for image in images], object),
        "pictures": np.array(png, object),
        "explain": np.array(png, object),
    }


def _verify(model: keras.Sequential, folder: Path, inputs: dict[str, NDArray[Any]]) -> None:
    """Loads the folder as a server would and asks it everything that clients will."""
    loaded = tf.saved_model.load(os.fspath(folder)).signatures
    of_images = model(inputs["serving_default"], training=False)
    # What a picture is read as is not the image that it was made of.
    seen = loaded["explain"](pictures=tf.constant(inputs["explain"]))["images"]
    of_pictures = model(seen, training=False)
    kernel = model.layers[-1].get_weights()[0]
    expected = {
        "serving_default": ("probabilities", of_images),
        "pixels": ("probabilities", of_images),
        "pictures": ("probabilities", of_pictures),
        "explain": ("probabilities", of_pictures),
        "classes": ("weights", kernel.T.reshape(-1, *model.input_shape[1:])),
    }
    for signature, (output, values) in expected.items():
        answer = loaded[signature](**{INPUTS[signature]: tf.constant(inputs[signature])})
        difference = np.abs(answer[output] - values).max()
        if not difference <= _TOLERANCE:  # a NaN differs too
            raise ExportError(
                f"the exported signature {signature} differs from the trained model by "
                f"{difference:.2g}; expected at most {_TOLERANCE:.0e}; nothing was published"
            )
    asked = []
    for signature, request in read_warmup(folder):
        loaded[signature](**{name: tf.constant(values) for name, values in request.items()})
        asked.append(signature)
    if asked != list(INPUTS):
        raise ExportError(f"the warm-up file asks {asked}, expected {list(INPUTS)}")


@contextmanager
def _without_graph_optimizer() -> Iterator[None]:
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **options})
