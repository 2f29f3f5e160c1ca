"""Predictions, and their validation: an answer must keep what the model's signature promises."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import BadAnswerError
from kmnist.protocol.metadata import TensorSpec
from kmnist.protocol.model_spec import Outputs

__all__ = ["OUTPUTS", "Prediction", "Predictions", "concatenate", "empty", "predictions"]

# The outputs that make up a prediction. A model may have more.
OUTPUTS: Final = ("probabilities", "class_ids", "class_names")


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
        probabilities: The probability of every class, float32 (n, classes). Each row sums to 1.
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


def predictions(outputs: Outputs, count: int, specs: Mapping[str, TensorSpec]) -> Predictions:
    """Validate an answer and convert it to predictions.

    Args:
        outputs: The outputs of the model.
        count: The number of images in the request.
        specs: The outputs of the signature.

    Raises:
        BadAnswerError: An output is missing, has the wrong dtype or shape, or contains NaN or a
            class that does not exist.
    """
    probabilities = _output(outputs, "probabilities", "f")
    class_ids = _output(outputs, "class_ids", "iu")
    class_names = _output(outputs, "class_names", "OSU")
    classes = _class_count(specs.get("probabilities"))
    if classes is None:
        classes = probabilities.shape[-1] if probabilities.ndim else 0
    shapes = (probabilities.shape, class_ids.shape, class_names.shape)
    expected = ((count, classes), (count,), (count,))
    if shapes != expected:
        raise BadAnswerError(
            f"received probabilities, class_ids and class_names of shapes {shapes}; "
            f"expected {expected}"
        )
    # A NaN or an infinity anywhere makes the sum of squares one, which is faster than isfinite().
    if not math.isfinite(np.vdot(probabilities, probabilities)):
        raise BadAnswerError("received NaN or infinite probabilities")
    distinct = set(class_ids.tolist())
    if min(distinct) < 0 or max(distinct) >= classes:
        raise BadAnswerError(
            f"received classes {min(distinct)} to {max(distinct)}; expected 0 to {classes - 1}"
        )
    return Predictions(
        _writable(class_ids, np.int64),
        _decode(class_names),
        _writable(probabilities, np.float32),
    )


def empty(probabilities: TensorSpec | None) -> Predictions:
    """Return the predictions for no images.

    Args:
        probabilities: The spec of the output, if known, which defines the number of classes.
    """
    classes = _class_count(probabilities) or 0
    return Predictions(
        np.empty(0, np.int64), np.empty(0, np.str_), np.empty((0, classes), np.float32)
    )


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions in order.

    Raises:
        BadAnswerError: The number of classes differs: the model changed in between.
    """
    if len({part.probabilities.shape[1] for part in parts}) > 1:
        raise BadAnswerError("the model changed its number of classes during the call; try again")
    return Predictions(
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.class_names for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def _output(outputs: Outputs, name: str, kinds: str) -> NDArray[Any]:
    array = outputs.tensors.get(name)
    if array is None:
        raise BadAnswerError(
            f"the answer lacks {name!r}; received "
            f"{', '.join(sorted(outputs.tensors)) or 'no outputs'}"
        )
    if array.dtype.kind not in kinds:
        expected = {"f": "floats", "iu": "integers", "OSU": "strings"}[kinds]
        raise BadAnswerError(f"received {name!r} as {array.dtype}; expected {expected}")
    return array


def _class_count(spec: TensorSpec | None) -> int | None:
    return spec.shape[-1] if spec is not None and spec.shape else None


def _writable(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a writable array of ``dtype``; copy only if needed."""
    return array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)


def _decode(names: NDArray[Any]) -> NDArray[np.str_]:
    try:
        return np.array(
            [name if isinstance(name, str) else name.decode() for name in names.tolist()]
        )
    except UnicodeDecodeError as error:
        raise BadAnswerError(f"received class names that are not UTF-8: {error}") from None
