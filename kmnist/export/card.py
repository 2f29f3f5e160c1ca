"""The model card of a version: its origin, training and metrics as JSON and as a page.

``model_card.json`` and ``README.md``, in the form of Hugging Face, are written from the same facts.
"""

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kmnist.data import Dataset
from kmnist.metrics import Evaluation
from kmnist.pictures.measure import background_tone, ink_extent
from kmnist.training.loop import Run, weights_digest

__all__ = ["model_card", "write_card"]

_PACKAGES: Final = ("kmnist", "keras", "tensorflow-datasets", "numpy", "protobuf")

_PARTS: Final = ("data", "model", "training", "test", "versions")

_PAGE: Final = """\
---
library_name: keras
pipeline_tag: image-classification
license: unknown
tags:
- kmnist
model-index:
- name: {name}
  results:
  - task:
      type: image-classification
    dataset:
      name: {dataset}
      type: {dataset}
      split: test
    metrics:
    - type: accuracy
      value: {accuracy}
---

# {title}

A classifier of images, made with kmnist. `model_card.json` has all figures and the checksums of data
and weights.

## How to use

Serve the folder of versions with TensorFlow Serving or `kmnist serve --models FOLDER`, and send it
pictures of any size:

```python
from kmnist import Client

with Client("grpc://localhost:8500", model={name}) as client:
    print(client.predict_pictures(["picture.png"])[0])
```

Or load `model.keras` with `keras.saving.load_model`, to evaluate it or to train it further.

## Intended use

Learning, tests of an installation of TensorFlow Serving, and a baseline for better models, on pictures
like those of its data set: one object each, of one of its classes.

## Limits

- It answers every picture with one of its classes, also one that shows something else or nothing.
- The accuracy is that of the test split; pictures from elsewhere are harder, and a high probability is no
  proof. Evaluate it on your own pictures before anything depends on it.

## License

`license: unknown` at the top of this page is a placeholder for the owner of the model to replace. The
license of the data may restrict the choice; that of MNIST is CC BY-SA 3.0.
"""


def model_card(
    model: keras.Model,
    dataset: Dataset,
    evaluation: Evaluation,
    run: Run | None,
    *,
    pixel_range: tuple[float, float],
) -> dict[str, Any]:
    """Return the model card of a version.

    Args:
        model: The model.
        dataset: Its data set.
        evaluation: The evaluation of the model on the test split.
        run: The training run of the model, if it is known.
        pixel_range: The range of the pixels that the model expects.

    Returns:
        A dict that can be written as JSON: strings, finite numbers, None, lists and dicts.
    """
    height, width = dataset.image_shape
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "name": dataset.name,
            "splits": {
                "train": len(dataset.train),
                "validation": len(dataset.validation),
                "test": len(dataset.test),
            },
            "image_size": f"{height}×{width}",
            "class_names": list(dataset.class_names),
            "notes": "; ".join(dataset.notes),
            "pictures": _reading(dataset),
            "sha256": dataset.checksums(),
        },
        "model": {
            "name": model.name,
            "layers": ", ".join(type(layer).__name__ for layer in model.layers),
            "parameters": model.count_params(),
            "pixel_range": " to ".join(map(str, pixel_range)),
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
        "versions": {
            "tensorflow": tf.__version__,  # its package may be tensorflow-cpu
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        "platform": platform.platform(),
    }


def write_card(folder: Path, card: Mapping[str, Any], name: str) -> None:
    """Write a model card as ``model_card.json`` and ``README.md``.

    Args:
        folder: The version folder, with its plots.
        card: The model card.
        name: The name of the model.
    """
    (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    page = _PAGE.format(
        # A string of JSON is one of YAML and of Python, too.
        name=json.dumps(name, ensure_ascii=False),
        dataset=json.dumps(card["data"]["name"], ensure_ascii=False),
        accuracy=card["test"]["accuracy"],
        title=_text(name),
    )
    data, test = card["data"], card["test"]
    scores = zip(data["class_names"], test["precision"], test["recall"], strict=True)
    tables = [
        *(_table(part, ("", ""), _facts(card[part] or {})) for part in _PARTS),
        _table("classes", ("class", "precision", "recall"), scores),
    ]
    plots = [f"![{plot.stem}]({plot.name})\n" for plot in sorted(folder.glob("*.png"))]
    (folder / "README.md").write_text("\n".join([page, *tables, *plots]), "utf-8")


def _reading(dataset: Dataset) -> str:
    """Describe how the exported model makes images of pictures."""
    extent = ink_extent(dataset.train.images)
    background = background_tone(dataset.train.images)
    if extent is not None:
        return f"ink on black: its longer side becomes {extent:.3f} of the image, centred by mass"
    if background is None:
        return "resized to fit and centred; the images have no background in common"
    return f"resized to fit and centred on a background of {background:.2f}, where 0 is black"


def _facts(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the facts of a part of a card that fit into a line."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from value.items()
        elif not isinstance(value, list) and value != "":
            yield name, value


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"## {title.capitalize()}\n\n{table}\n"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _text(str(value))


def _text(text: str) -> str:
    """Return a name as one line that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in r"\`*_[]<>|#" else c for c in " ".join(text.split()))


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    # JSON has no NaN, which is the recall of a class without examples.
    return [None if np.isnan(value) else float(value) for value in values]
