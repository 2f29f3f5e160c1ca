"""Load the data set of ``--dataset``."""

from pathlib import Path
from typing import TYPE_CHECKING

from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import ColourError, InputError

if TYPE_CHECKING:
    from kmnist.client import Predictions
    from kmnist.data import Dataset

__all__ = ["load_data", "require_same_classes"]


def load_data(
    dataset: str,
    data_dir: Path | None,
    *,
    grey: bool,
    image_size: tuple[int, int] | None = None,
    validation_size: int | None = None,
) -> "Dataset":
    """Load a data set, without TensorFlow's messages on stderr.

    An error about colours names the option that converts them.

    Args:
        dataset: The source, as in :func:`kmnist.load_dataset`, which has the other arguments too.
        data_dir: The folder of prepared data.
        grey: Convert images with colours; what a model is asked about is converted without an option.
        image_size: Height and width; to ask a model, those of its signature.
        validation_size: The number of training images to hold out; 0 where only the test is used.
    """
    from kmnist.data import load_dataset
    from kmnist.data.sources import needs_tensorflow

    if needs_tensorflow(dataset):
        with starting_tensorflow():
            pass
    try:
        return load_dataset(
            dataset,
            validation_size=validation_size,
            data_dir=data_dir,
            grey=grey,
            image_size=image_size,
        )
    except ColourError as error:
        error.add_note("--grey converts them")
        raise


def require_same_classes(predictions: "Predictions", data: "Dataset", model: str) -> None:
    """Compare the classes of a model with those of the data set that it was asked about.

    Raises:
        InputError: They differ in number, or a class of the data set is another one for the model.
    """
    names, classes = data.class_names, predictions.probabilities.shape[1]
    if classes != len(names):
        raise InputError(
            f"the model of {model} has {classes} classes, the data set {data.name} {len(names)}: "
            "select the data set of its training"
        )
    class_ids, class_names = predictions.class_ids.tolist(), predictions.class_names.tolist()
    for class_id, name in set(zip(class_ids, class_names, strict=True)):
        if name in names and name != names[class_id]:
            raise InputError(
                f"the model of {model} calls class {class_id} {name!r}, the data set {data.name} "
                f"{names[class_id]!r}: select a data set with the classes in the order of its training"
            )
