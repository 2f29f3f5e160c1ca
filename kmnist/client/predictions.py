"""From the tensors of an answer to predictions, with every promise of the model checked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import BadAnswerError
from kmnist.protocol.metadata import TensorSpec
from kmnist.protocol.model_spec import Outputs

__all__ = ["NAMES", "Prediction", "Predictions", "empty", "joined", "predictions"]

#: The outputs that make a prediction. A model may have more.
NAMES: Final = ("probabilities", "class_ids", "class_names")

_INT64: Final = np.dtype(np.int64)
_FLOAT32: Final = np.dtype(np.float32)

# Up to here a loop of Python's is done before numpy has begun.
_FEW: Final = 64


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


def predictions(outputs: Outputs, count: int, specs: Mapping[str, TensorSpec]) -> Predictions:
    """The predictions for ``count`` images.

    Raises:
        BadAnswerError: A tensor is missing, has another shape, or holds NaN or a class that
            does not exist.
    """
    probabilities = _tensor(outputs, "probabilities", "f")
    class_ids = _tensor(outputs, "class_ids", "iu")
    names = _tensor(outputs, "class_names", "OSU")
    classes = _classes(specs.get("probabilities"), probabilities)
    shapes = (probabilities.shape, class_ids.shape, names.shape)
    if shapes != ((count, classes), (count,), (count,)):
        raise BadAnswerError(
            f"the answer's probabilities, class_ids and class_names have shapes {shapes}, expected "
            f"{((count, classes), (count,), (count,))}"
        )
    # A sum finds a NaN or an infinity anywhere, faster than a look at each.
    if count <= _FEW:
        total = sum(probabilities.ravel().tolist())
    else:
        total = np.vdot(probabilities, probabilities)
    if not math.isfinite(total):
        raise BadAnswerError("the server answered with NaN or infinite probabilities")
    ids: Any = class_ids.tolist() if count <= _FEW else (class_ids.min(), class_ids.max())
    if min(ids) < 0 or max(ids) >= classes:
        raise BadAnswerError(
            f"the server answered with classes {min(ids)} to {max(ids)}; the model has {classes}"
        )
    return Predictions(_own(class_ids, _INT64), _text(names), _own(probabilities, _FLOAT32))


def empty(spec: TensorSpec | None) -> Predictions:
    """The predictions for no image; as many columns as the model has classes, if that is known."""
    classes = spec.shape[-1] if spec is not None and spec.shape else None
    return Predictions(
        np.empty(0, np.int64), np.empty(0, np.str_), np.empty((0, classes or 0), np.float32)
    )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Several predictions as one, in order.

    Raises:
        BadAnswerError: They have different numbers of classes: the model changed in between.
    """
    if len({part.probabilities.shape[1] for part in parts}) > 1:
        raise BadAnswerError("the model changed its number of classes during the call; ask again")
    return Predictions(
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.class_names for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
    )


def _tensor(outputs: Outputs, name: str, kinds: str) -> NDArray[Any]:
    array = outputs.tensors.get(name)
    if array is None:
        raise BadAnswerError(
            f"the answer lacks {name!r}; received {', '.join(sorted(outputs.tensors)) or 'nothing'}"
        )
    if array.dtype.kind not in kinds:
        raise BadAnswerError(f"the answer's {name!r} is {array.dtype}, which cannot be used")
    return array


def _classes(spec: TensorSpec | None, probabilities: NDArray[Any]) -> int:
    declared = spec.shape[-1] if spec is not None and spec.shape else None
    return declared or (probabilities.shape[-1] if probabilities.ndim else 0)


def _own(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Of that dtype, and not memory of somebody else's that cannot be written to."""
    return array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)


def _text(names: NDArray[Any]) -> NDArray[np.str_]:
    given = names.tolist()
    try:
        if len(given) <= _FEW:
            return np.array([_decoded(name) for name in given])
        # Many images have few classes: each name is decoded once.
        places = {name: place for place, name in enumerate(set(given))}
        text = np.array([_decoded(name) for name in places])
    except UnicodeDecodeError as error:
        raise BadAnswerError(f"the answer's class names are not UTF-8: {error}") from None
    return text[np.fromiter(map(places.__getitem__, given), np.intp, len(given))]


def _decoded(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode()
