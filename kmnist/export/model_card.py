"""The model card: origin, training and metrics of a version, as JSON."""

import importlib.metadata
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from kmnist.data import Dataset
from kmnist.metrics import Evaluation
from kmnist.training.classifier import pixel_weights
from kmnist.training.loop import Run, weights_digest

__all__ = ["model_card"]

_PACKAGES: Final = ("kmnist", "tensorflow", "keras", "tensorflow-datasets", "numpy", "protobuf")


def model_card(
    model: keras.Model,
    dataset: Dataset,
    evaluation: Evaluation,
    run: Run | None = None,
    *,
    extent: float | None,
    background: float | None,
) -> dict[str, Any]:
    """Return the model card of a version.

    Args:
        model: The model.
        dataset: Its data set.
        evaluation: The evaluation of the model on the test split.
        run: The training run of the model, if it is known.
        extent: How large the data set draws its ink, as the exported model uses it for reading
            pictures; see :func:`kmnist.pictures.frame.ink_extent`.
        background: The tone of its background, likewise; see
            :func:`kmnist.pictures.frame.background_tone`.

    Returns:
        A dict that can be written as JSON: strings, finite numbers, None, lists and dicts.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "name": dataset.name,
            "notes": list(dataset.notes),
            "sha256": dataset.checksums(),
            "splits": {
                "train": len(dataset.train),
                "validation": len(dataset.validation),
                "test": len(dataset.test),
            },
            "image_shape": list(dataset.image_shape),
            "class_names": list(dataset.class_names),
        },
        "model": {
            **_kind(model),
            "parameters": model.count_params(),
            "weights_sha256": weights_digest(model),
        },
        "training": run
        and {
            "loss": "categorical_crossentropy",
            "optimizer": "SGD",
            **run.settings,
            "history": [asdict(epoch) for epoch in run.history],
        },
        "test": {
            "cost": evaluation.cost,
            "accuracy": evaluation.accuracy,
            "precision": _numbers(evaluation.precision),
            "recall": _numbers(evaluation.recall),
            "confusion": evaluation.confusion.tolist(),
        },
        "pictures": _pictures(extent, background),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        "platform": platform.platform(),
    }


def _kind(model: keras.Model) -> dict[str, Any]:
    if pixel_weights(model) is None:
        return {"kind": "Keras classifier", "name": model.name}
    (dense,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return {
        "kind": "softmax regression",
        "kernel_initializer": _initializer(dense.kernel_initializer),
        "bias_initializer": _initializer(dense.bias_initializer),
    }


def _pictures(extent: float | None, background: float | None) -> str:
    if extent is not None:
        return (
            f"ink found, its longer side scaled to {extent:.3f} of the shorter side of the image, "
            "centred by mass"
        )
    grey = "the data set is not drawn in ink on black: grey, resized to fit, centred; "
    if background is None:
        return grey + "its images have no background in common, so none is inverted"
    return grey + (
        f"laid on its background of {background:.2f} (0 is black), inverted if the rim is of the "
        "opposite tone; whether an object on a transparent canvas is inverted cannot be told"
    )


def _initializer(initializer: Any) -> dict[str, Any]:
    return {"name": type(initializer).__name__, **initializer.get_config()}


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    # JSON has no NaN, which is the recall of a class without examples.
    return [None if np.isnan(value) else float(value) for value in values]
