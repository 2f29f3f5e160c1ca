"""What a predict request names, and what its response holds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["ModelSpec", "Outputs"]


class ModelSpec(NamedTuple):
    """Which model is meant: at most one of ``version`` and ``label``; neither means the latest."""

    name: str
    version: int | None = None
    label: str | None = None


class Outputs(NamedTuple):
    """The answer to one request, as a transport hands it over.

    Attributes:
        tensors: By name; strings as an object array of bytes or str.
        version: The version that answered; None where the transport does not tell.
    """

    tensors: Mapping[str, NDArray[Any]]
    version: int | None = None
