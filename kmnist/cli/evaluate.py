"""``kmnist evaluate``: the accuracy of a version, loaded from its folder or through a server."""

import math
from pathlib import Path
from typing import Any, Final

import click

from kmnist.cli._base import Command
from kmnist.cli._client import image_size, open_client
from kmnist.cli._options import (
    client_options,
    dataset_options,
    json_option,
    models_option,
    refuse_both_sources,
    server_option,
)
from kmnist.cli._output import print_table, show_result

__all__ = ["command"]

_SCORES: Final = ("precision", "recall")

# Longer names of classes do not fit above the columns of counts.
_SHORT: Final = 4


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
    as_json: bool,
    **client_arguments: Any,
) -> None:
    """Measure the accuracy of a version or of a server.

    The whole test split is predicted. The output is the accuracy, the precision and recall of
    each class, and the confusion matrix. A server gives the same results as the folder that it
    serves.
    """
    from kmnist.cli._data import load_data, require_same_classes
    from kmnist.metrics import Evaluation

    refuse_both_sources()
    source = server or models
    with open_client(source, **client_arguments) as client:
        size = image_size(client)
        data = load_data(dataset, data_dir, grey=True, image_size=size, validation_size=0)
        predictions = client.predict(data.test.images)
    require_same_classes(predictions, data, str(source))
    evaluation = Evaluation.from_predictions(data.test.labels, predictions.probabilities)
    result = {
        "model": str(source),
        "dataset": data.name,
        "examples": evaluation.examples,
        "accuracy": evaluation.accuracy,
        "cost": evaluation.cost,
        "class_names": list(data.class_names),
        # JSON has no NaN
        "precision": [
            None if math.isnan(score) else score for score in evaluation.precision.tolist()
        ],
        "recall": [None if math.isnan(score) else score for score in evaluation.recall.tolist()],
        "confusion": evaluation.confusion.tolist(),
    }
    show_result(result, as_json, _print)


def _print(result: dict[str, Any]) -> None:
    names = result["class_names"]
    click.echo(
        f"{result['model']} on the {result['examples']} test images of {result['dataset']}: "
        f"accuracy {result['accuracy']:.4f}, cost {result['cost']:.4f}\n"
    )
    head: tuple[str, ...] = ("class", *_SCORES)
    columns = [names, *([_score(each) for each in result[metric]] for metric in _SCORES)]
    if max(map(len, names)) > _SHORT:
        numbers = [str(number) for number in range(len(names))]
        print_table(("", *head), zip(numbers, *columns, strict=True), right=("", *_SCORES))
        click.echo()
        names, head, columns = numbers, ("",), [numbers]
    click.echo("for each class, how often its images were predicted as which class:")
    rows = [
        (*cells, *(str(count or "·") for count in counts))
        for *cells, counts in zip(*columns, result["confusion"], strict=True)
    ]
    print_table((*head, *names), rows, right=("", *_SCORES, *names))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
