"""Predictions, and their validation: an answer must keep what the model's signature promises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import BadAnswerError
from kmnist.protocol.messages import Outputs, TensorSpec, VersionStatus

if TYPE_CHECKING:  # loaded by the transports: `import kmnist.client` must not load protobuf
    from kmnist.protocol import serving_pb2 as pb

__all__ = [
    "OUTPUTS",
    "Prediction",
    "Predictions",
    "check_outputs",
    "concatenate",
    "read_predictions",
    "read_statuses",
]

# The outputs that make up a prediction. A model may have more.
OUTPUTS: Final = ("probabilities", "class_ids", "class_names")

# A model may compute in float16 or bfloat16.
_ROUNDING: Final = 1e-3


class Prediction(NamedTuple):
    """The prediction for one image.

    Attributes:
        class_id: The most probable class.
        class_name: The name of that class.
        probability: The probability of that class.
    """

    class_id: int
    class_name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions for n images, in the order of the images.

    ``len()``, indexing and iteration give :class:`Prediction` tuples.

    Attributes:
        class_ids: The most probable class of each image, int64 (n,).
        class_names: The name of that class, str (n,).
        probabilities: The probability of every class, float32 (n, classes).
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


def check_outputs(outputs: Outputs, specs: Mapping[str, TensorSpec]) -> dict[str, NDArray[Any]]:
    """Return the outputs that were asked for, with the dtypes and shapes of the signature.

    Args:
        outputs: The outputs of the model; others are left out.
        specs: The outputs that were asked for.

    Raises:
        BadAnswerError: An output is missing, or has another dtype or shape.
    """
    checked = {}
    for name, spec in specs.items():
        array = outputs.tensors.get(name)
        if array is None:
            found = ", ".join(sorted(outputs.tensors)) or "nothing"
            raise BadAnswerError(f"the answer has no {name}, only {found}")
        if array.dtype != spec.array_dtype and array.dtype.name == "bfloat16":
            array = array.astype(np.float32)  # from a model in this process, as TensorFlow has it
        if array.dtype != spec.array_dtype or not spec.accepts(array.shape):
            raise BadAnswerError(
                f"the answer has {name} as {array.dtype} of shape {array.shape}, not {spec}"
            )
        checked[name] = array
    return checked


def read_predictions(
    outputs: Mapping[str, NDArray[Any]], count: int, specs: Mapping[str, TensorSpec]
) -> Predictions:
    """Validate an answer and convert it to predictions.

    Args:
        outputs: The outputs of the model.
        count: The number of images in the request.
        specs: The outputs of the signature.

    Raises:
        BadAnswerError: An output is missing, has the wrong dtype or shape, or values out of range.
    """
    probabilities = _output(outputs, "probabilities", "f", 2)
    class_ids = _output(outputs, "class_ids", "iu", 1)
    class_names = _output(outputs, "class_names", "OSU", 1)
    classes = _class_count(specs) or probabilities.shape[1]
    lengths = {len(probabilities), len(class_ids), len(class_names)}
    if not classes or probabilities.shape[1] != classes or lengths != {count}:
        raise BadAnswerError(
            f"the answer has probabilities {probabilities.shape}, {len(class_ids)} class_ids and "
            f"{len(class_names)} class_names for {count} images of {classes} classes"
        )
    _check_range("probabilities", probabilities, 1, _ROUNDING)
    _check_range("class_ids", class_ids, classes - 1)
    return Predictions(
        class_ids.astype(np.int64), _decode(class_names), probabilities.astype(np.float32)
    )


def concatenate(parts: Sequence[Predictions], specs: Mapping[str, TensorSpec]) -> Predictions:
    """Concatenate the predictions of any number of requests in order.

    Args:
        parts: The predictions.
        specs: The outputs of the signature, which define the number of classes if there is no part.

    Raises:
        BadAnswerError: The number of classes differs: the model changed in between.
    """
    if len(parts) == 1:
        return parts[0]
    if not parts:
        nothing = np.empty((0, _class_count(specs) or 0), np.float32)
        return Predictions(np.empty(0, np.int64), np.empty(0, np.str_), nothing)
    if len({part.probabilities.shape[1] for part in parts}) > 1:
        raise BadAnswerError("the model changed its number of classes during the call; try again")
    return Predictions(
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.class_names for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def read_statuses(response: "pb.GetModelStatusResponse") -> list[VersionStatus]:
    """Return the states in a response, which over REST is the same message as JSON."""
    return [
        VersionStatus(
            each.version,
            each.State.Name(each.state),
            each.status.Code.Name(each.status.error_code),
            each.status.error_message,
        )
        for each in response.model_version_status
    ]


def _output(outputs: Mapping[str, NDArray[Any]], name: str, kinds: str, ndim: int) -> NDArray[Any]:
    array = outputs.get(name)
    if array is None:
        found = ", ".join(sorted(outputs)) or "nothing"
        raise BadAnswerError(f"the answer has no {name}, only {found}")
    if array.dtype.kind not in kinds or array.ndim != ndim:
        raise BadAnswerError(f"the answer has {name} as {array.dtype} of shape {array.shape}")
    return array


def _check_range(name: str, values: NDArray[Any], highest: int, margin: float = 0) -> None:
    low, high = values.min(), values.max()
    if not -margin <= low <= high <= highest + margin:  # nor is NaN
        raise BadAnswerError(f"the answer has {name} from {low:g} to {high:g}, not 0 to {highest}")


def _class_count(specs: Mapping[str, TensorSpec]) -> int | None:
    spec = specs.get("probabilities")
    return spec.shape[-1] if spec is not None and spec.shape else None


def _decode(names: NDArray[Any]) -> NDArray[np.str_]:
    values = names.tolist()
    # Few names differ; to decode and convert each of them would take the most time here.
    numbers = {name: number for number, name in enumerate(dict.fromkeys(values))}
    try:
        texts = [name if isinstance(name, str) else name.decode() for name in numbers]
    except UnicodeDecodeError as error:
        raise BadAnswerError(f"the answer has class names that are not UTF-8: {error}") from None
    return np.array(texts)[np.fromiter(map(numbers.__getitem__, values), np.intp, len(values))]
