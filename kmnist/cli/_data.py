"""Load the data set of ``--dataset``."""

from pathlib import Path
from typing import TYPE_CHECKING

from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import ColourError

if TYPE_CHECKING:
    from kmnist.data import Dataset

__all__ = ["load_data"]


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
