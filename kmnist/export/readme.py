"""README.md of a version: its model card as a page, in the form of Hugging Face."""

import json
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["readme"]

# The scores of more classes are in model_card.json only.
_MOST_CLASSES: Final = 62

_CAPTIONS: Final = {
    "training.png": "Cost and accuracy of each epoch",
    "confusion.png": "Confusion matrix of the test images",
    "samples.png": "Test images and mistakes",
    "weights.png": "Weights of each class",
}

_PAGE: Final = """\
---
library_name: keras
pipeline_tag: image-classification
tags:
- kmnist
- tensorflow
metrics:
- accuracy
model-index:
- name: {quoted_name}
  results:
  - task:
      type: image-classification
    dataset:
      name: {quoted_dataset}
      type: {quoted_dataset}
      split: test
    metrics:
    - type: accuracy
      value: {accuracy}
---

# {name}

{kind}, {parameters:,} parameters: images of {height}×{width} grey pixels → {classes} classes. Its
accuracy on the test images is {accuracy:.4f}, its cost (mean cross-entropy) {cost:.4f} nats.

## How to use

Serve the folder of versions with TensorFlow Serving or `kmnist serve --models FOLDER`, and send it
pictures of any size:

```python
from kmnist import Client

with Client("grpc://localhost:8500", model={quoted_name}) as client:
    print(client.predict_pictures(["picture.png"])[0])
```

Or load it with Keras, to evaluate it or to train it further:

```python
import keras

model = keras.saving.load_model("model.keras")
```

## Data

{dataset}: {splits} images. How pictures become images: {pictures}.

## Training

{training}

## Evaluation

{scores}

{plots}

Made with {versions}. `model_card.json` has all figures and the checksums of data and weights.
"""


def readme(card: dict[str, Any], name: str, plots: Sequence[str]) -> str:
    """Return a model card as Markdown, with the front matter that Hugging Face reads.

    Args:
        card: The model card of :func:`kmnist.export.model_card.model_card`.
        name: The name of the model.
        plots: The names of the plots in the version folder.
    """
    data, model, test, training = card["data"], card["model"], card["test"], card["training"]
    height, width = data["image_shape"]
    names = data["class_names"]
    scores = [
        (_text(label), *("–" if score is None else f"{score:.4f}" for score in pair))
        for label, *pair in zip(names, test["precision"], test["recall"], strict=True)
    ]
    settings = [row for row in (training or {}).items() if row[0] != "history"]
    return _PAGE.format(
        name=_text(name),
        # A string of JSON is one of YAML and of Python, too.
        quoted_name=json.dumps(name, ensure_ascii=False),
        quoted_dataset=json.dumps(data["name"], ensure_ascii=False),
        dataset=_text(data["name"]),
        kind=model["kind"][0].upper() + model["kind"][1:],
        parameters=model["parameters"],
        height=height,
        width=width,
        classes=len(names),
        accuracy=test["accuracy"],
        cost=test["cost"],
        splits=", ".join(f"{size:,} {split}" for split, size in data["splits"].items()),
        pictures=card["pictures"],
        training=_table(("setting", "value"), settings) if training else "Not recorded.",
        scores=_table(("class", "precision", "recall"), scores[:_MOST_CLASSES]),
        plots="\n\n".join(
            f"![{caption}]({plot})" for plot, caption in _CAPTIONS.items() if plot in plots
        ),
        versions=", ".join(f"{package} {version}" for package, version in card["versions"].items()),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _text(text: str) -> str:
    """Return a name as one line that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in r"\`*_[]<>|#" else c for c in " ".join(text.split()))
