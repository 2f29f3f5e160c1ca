"""``kmnist evaluate``: the accuracy of a version, loaded from its folder or through a server."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmnist.cli._base import Command
from kmnist.cli._client import ask
from kmnist.cli._options import (
    client_options,
    dataset_options,
    json_option,
    models_option,
    refuse_both_sources,
    server_option,
)
from kmnist.cli._output import print_table, show_result

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["command"]


@click.command("evaluate", cls=Command)
@models_option()
@server_option(default=None, envvar=None, help="Evaluate the model of this server instead.")
@client_options
@dataset_options
@json_option
def command(
    models: Path,
    server: str | None,
    dataset: str,
    data_dir: Path | None,
    grey: bool,
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Measure the accuracy of a version or of a server.

    The whole test split is predicted. The output is the accuracy, the precision and recall of
    each class, and the confusion matrix. A server gives the same results as the folder that it
    serves.
    """
    from kmnist.cli._data import load_data
    from kmnist.metrics import Evaluation

    refuse_both_sources()
    source = server or models
    data = load_data(dataset, data_dir, grey=grey, validation_size=0)
    predictions = ask(source, lambda client: client.predict(data.test.images), **client_arguments)
    probabilities = predictions.probabilities
    if probabilities.shape[1] != len(data.class_names):
        raise click.UsageError(
            f"the model of {source} has {probabilities.shape[1]} classes, the data set {data.name} "
            f"{len(data.class_names)}; select the data set of its training with --dataset"
        )
    evaluation = Evaluation.from_predictions(data.test.labels, probabilities)
    result = {
        "model": str(source),
        "dataset": data.name,
        "examples": evaluation.examples,
        "accuracy": evaluation.accuracy,
        "cost": evaluation.cost,
        "class_names": list(data.class_names),
        "precision": _finite(evaluation.precision),
        "recall": _finite(evaluation.recall),
        "confusion": evaluation.confusion.tolist(),
    }
    show_result(result, as_json, _print)


def _finite(values: "NDArray[Any]") -> list[float | None]:
    """Return None for NaN, which JSON does not have."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _print(result: dict[str, Any]) -> None:
    from rich.text import Text

    names = result["class_names"]
    click.echo(
        f"{result['model']} on the {result['examples']} test images of {result['dataset']}: "
        f"accuracy {result['accuracy']:.4f}, cost {result['cost']:.4f}\n"
    )
    scores = [
        ["-" if score is None else f"{score:.4f}" for score in pair]
        for pair in zip(result["precision"], result["recall"], strict=True)
    ]
    print_table(
        ("class", "precision", "recall"),
        [(name, *pair) for name, pair in zip(names, scores, strict=True)],
        right=("precision", "recall"),
    )
    click.echo("\nconfusion matrix: a row per label, a column per predicted class")
    print_table(
        ("label", *names),
        [
            (name, *(Text(str(n) if n else "·", "bold" * (i == j)) for j, n in enumerate(counts)))
            for i, (name, counts) in enumerate(zip(names, result["confusion"], strict=True))
        ],
        right=names,
    )
