"""What a server answers: predictions, states of versions, signatures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Metadata",
    "ModelSpec",
    "Outputs",
    "Prediction",
    "Predictions",
    "Signature",
    "TensorSpec",
    "VersionStatus",
]


class ModelSpec(NamedTuple):
    """Which model is meant: at most one of ``version`` and ``label``; neither means the latest."""

    name: str
    version: int | None = None
    label: str | None = None


class Prediction(NamedTuple):
    """The prediction for one image."""

    class_id: int
    class_name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions for n images, in the order the images came in.

    Attributes:
        class_ids: int64 (n,): the most probable class of each image.
        class_names: str (n,): its name.
        probabilities: float32 (n, classes): each row sums to 1.
    """

    class_ids: NDArray[np.int64]
    class_names: NDArray[np.str_]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.class_ids)

    def __getitem__(self, index: int) -> Prediction:
        class_id = int(self.class_ids[index])
        return Prediction(
            class_id, str(self.class_names[index]), float(self.probabilities[index, class_id])
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The state of one version.

    Attributes:
        version: Its number.
        state: START, LOADING, AVAILABLE, UNLOADING, END, or UNKNOWN.
        error_code: OK, or the gRPC code of what went wrong.
        error_message: What went wrong; "" if nothing did.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""

    @property
    def is_available(self) -> bool:
        return self.state == "AVAILABLE"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or an output of a signature.

    Attributes:
        dtype: TensorFlow's name, ``DT_UINT8`` say.
        shape: None for each dimension that may vary; None alone where even their number may.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        name = self.dtype.removeprefix("DT_").lower()
        if self.shape is None:
            return f"{name} of any shape"
        sizes = ["n" if size is None else str(size) for size in self.shape]
        return f"{name} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


@dataclass(frozen=True, slots=True)
class Signature:
    """What one signature takes and gives, by name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The signatures of one version.

    Attributes:
        version: The version that the server chose.
        signatures: By name; ``__saved_model_init_op``, which nobody can call, is left out.
    """

    version: int | None
    signatures: Mapping[str, Signature]


class Outputs(NamedTuple):
    """The answer to one request, as a transport hands it over.

    Attributes:
        tensors: By name; strings as an object array of bytes or str.
        version: The version that answered; None where the transport does not tell.
    """

    tensors: Mapping[str, NDArray[Any]]
    version: int | None = None
