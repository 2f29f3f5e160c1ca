"""What a server reports about a model: the states of its versions and their signatures."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Metadata", "Signature", "TensorSpec", "VersionStatus"]


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
