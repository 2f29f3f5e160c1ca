"""The model that a request names, and the outputs that a response holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["ModelSpec", "Outputs"]


class ModelSpec(NamedTuple):
    """A model, and at most one of a version and a label of it.

    Attributes:
        name: The name under which the server serves the model.
        version: The version number; None for the latest, or for the labelled one.
        label: The version label.
    """

    name: str
    version: int | None = None
    label: str | None = None


class Outputs(NamedTuple):
    """The outputs of one predict request.

    Attributes:
        tensors: Arrays by output name; strings as an object array of bytes or str.
        version: The version that answered; None over REST, which does not report it.
    """

    tensors: Mapping[str, NDArray[Any]]
    version: int | None = None
