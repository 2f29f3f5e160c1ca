"""TensorFlow Serving's messages as data: paths of its gRPC methods, and what a server reports of a model.

Source: tensorflow_serving/apis/prediction_service.proto and model_service.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GET_MODEL_METADATA",
    "GET_MODEL_STATUS",
    "INIT_SIGNATURE",
    "PREDICT",
    "SIGNATURES_TYPE_URL",
    "Metadata",
    "ModelSpec",
    "Outputs",
    "Request",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "read_signatures",
]

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

# The type of the Any under "signature_def" in a metadata response; its value is a SignatureDefMap.
SIGNATURES_TYPE_URL: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

# TensorFlow writes this signature into every SavedModel; it cannot be called.
INIT_SIGNATURE: Final = "__saved_model_init_op"

# NumPy's names of dtypes, where TensorFlow's differ.
_NUMPY_NAMES: Final = {"float": "float32", "double": "float64", "half": "float16"}
# The arrays of what NumPy does not have.
_STAND_INS: Final = {"string": "object", "bfloat16": "float32"}


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


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The state of one version.

    Attributes:
        version: The version number.
        state: START, LOADING, AVAILABLE, UNLOADING, END or UNKNOWN.
        error_code: The gRPC code of a failed load; OK if there was none.
        error_message: The text of a failed load; "" if there was none.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""

    @property
    def is_available(self) -> bool:
        """Whether the version answers requests."""
        return self.state == "AVAILABLE"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or an output of a signature.

    ::

        >>> print(TensorSpec("DT_UINT8", (None, 28, 28)))
        uint8 (n, 28, 28)

    Attributes:
        dtype: TensorFlow's name of the dtype, such as ``DT_UINT8``.
        shape: The dimensions, with None for each of variable size; None if the rank is unknown.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def array_dtype(self) -> np.dtype[Any] | None:
        """The dtype of its arrays: object for strings, float32 for bfloat16, None if there is none."""
        return _array_dtype(self._name)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array may have this shape."""
        return self.shape is None or (
            len(self.shape) == len(shape)
            and all(want in (None, got) for want, got in zip(self.shape, shape, strict=True))
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self._name} of any shape"
        sizes = ["n" if size is None else str(size) for size in self.shape]
        return f"{self._name} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    @property
    def _name(self) -> str:
        name = self.dtype.removeprefix("DT_").lower()
        return _NUMPY_NAMES.get(name, name)


@cache
def _array_dtype(name: str) -> np.dtype[Any] | None:
    try:
        return np.dtype(_STAND_INS.get(name, name))
    except TypeError:  # a quantized dtype, a resource
        return None


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of a model that a request can call.

    Attributes:
        inputs: Specs by input name.
        outputs: Specs by output name.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class Request(NamedTuple):
    """A predict request.

    Attributes:
        spec: The model, and its version or label.
        signature_name: The name of the signature.
        signature: The inputs and outputs of the signature.
        inputs: An array for each input; strings as object arrays of bytes.
        output_filter: The names of the outputs to return; empty for all of them.
    """

    spec: ModelSpec
    signature_name: str
    signature: Signature
    inputs: Mapping[str, NDArray[Any]]
    output_filter: tuple[str, ...] = ()

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """The outputs to return."""
        names = self.output_filter or self.signature.outputs
        return {name: self.signature.outputs[name] for name in names}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The signatures of one version.

    Attributes:
        version: The version number; None if it is unknown.
        signatures: Signatures by name, without ``__saved_model_init_op``.
    """

    version: int | None
    signatures: Mapping[str, Signature]


def read_signatures(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Read the SignatureDefs of a model, TensorFlow's messages or this package's.

    Args:
        definitions: The SignatureDef messages by name, as in a SignatureDefMap or a MetaGraphDef.

    Returns:
        The signatures by name, without ``__saved_model_init_op``.
    """
    return {
        name: Signature(_specs(definition.inputs), _specs(definition.outputs))
        for name, definition in definitions.items()
        if name != INIT_SIGNATURE
    }


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    # On first use: `import kmnist.client` must not load protobuf.
    from kmnist.protocol.tensors import dtype_name, shape_of

    return {
        name: TensorSpec(dtype_name(info.dtype), shape_of(info.tensor_shape))
        for name, info in infos.items()
    }
