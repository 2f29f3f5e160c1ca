"""Load the data set that ``--dataset`` names."""

from pathlib import Path
from typing import TYPE_CHECKING

from kmnist.cli._tensorflow import starting_tensorflow
from kmnist.errors import ColourError

if TYPE_CHECKING:
    from kmnist.data import Dataset

__all__ = ["load_data"]


def load_data(
    dataset: str, data_dir: Path | None, *, grey: bool, validation_size: int | None = None
) -> "Dataset":
    """Load a data set, without TensorFlow's messages on stderr.

    An error about colours names the option that converts them.

    Args:
        dataset: The source, as in :func:`kmnist.load_dataset`, which has the other arguments too.
    """
    from kmnist.data import load_dataset
    from kmnist.data.sources import needs_tensorflow

    if needs_tensorflow(dataset):
        with starting_tensorflow():
            pass
    try:
        return load_dataset(dataset, validation_size=validation_size, data_dir=data_dir, grey=grey)
    except ColourError as error:
        error.add_note("--grey converts them")
        raise
