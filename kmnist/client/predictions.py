"""Predictions, and their validation: an answer must keep what the model's signature promises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import BadAnswerError
from kmnist.protocol.messages import Outputs, TensorSpec

__all__ = ["OUTPUTS", "Prediction", "Predictions", "concatenate", "empty", "predictions"]

# The outputs that make up a prediction. A model may have more.
OUTPUTS: Final = ("probabilities", "class_ids", "class_names")

# Errors of float16 and bfloat16, in which a model may compute, and of their sum.
_ROUNDING: Final = 1e-3
_SUM_ERROR: Final = 0.02

# Up to this many values, Python is faster than numpy.
_FEW_VALUES: Final = 64

# An array of strings takes 4 bytes per image and character of the longest name.
_LONGEST_NAME: Final = 4096


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
        BadAnswerError: An output is missing, has the wrong dtype or shape, or contains what a
            softmax cannot: probabilities below 0 or with another sum than 1, a class that does
            not exist or is not the most probable one.
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
    _check(probabilities, class_ids)
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


def _check(probabilities: NDArray[Any], class_ids: NDArray[Any]) -> None:
    """Check that the classes are the most probable ones of probabilities.

    Args:
        probabilities: Floats (n, classes).
        class_ids: Integers (n,).

    Raises:
        BadAnswerError: They are not.
    """
    if _is_softmax(probabilities, class_ids):
        return
    if not np.isfinite(probabilities).all():
        raise BadAnswerError("received NaN or infinite probabilities")
    lowest, highest, classes = class_ids.min(), class_ids.max(), probabilities.shape[1]
    if lowest < 0 or highest >= classes:
        raise BadAnswerError(f"received classes {lowest} to {highest}; expected 0 to {classes - 1}")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.min() < -_ROUNDING or np.abs(sums - 1).max() > _SUM_ERROR:
        raise BadAnswerError(
            f"received probabilities from {probabilities.min():g} to {probabilities.max():g} with "
            f"sums from {sums.min():g} to {sums.max():g}; expected values from 0 to 1 that sum to 1"
        )
    row = int((probabilities.max(axis=1) - probabilities[np.arange(len(sums)), class_ids]).argmax())
    raise BadAnswerError(
        f"received class {class_ids[row]} with probability {probabilities[row, class_ids[row]]:g}; "
        f"expected the most probable one, {probabilities[row].argmax()} with "
        f"{probabilities[row].max():g}"
    )


def _is_softmax(probabilities: NDArray[Any], class_ids: NDArray[Any]) -> bool:
    """Return whether every row sums to 1, without negative values, and its class is the largest.

    No value exceeds 1 then. Several classes may be the largest. Comparisons with NaN are false.
    """
    classes = probabilities.shape[1]
    if not classes:
        return False
    if probabilities.size <= _FEW_VALUES:
        # For one image, the functions of numpy would take longer than the rest of the validation.
        return all(
            min(row) >= -_ROUNDING
            and abs(sum(row) - 1) <= _SUM_ERROR
            and 0 <= chosen < classes
            and row[chosen] >= max(row) - _ROUNDING
            for row, chosen in zip(probabilities.tolist(), class_ids.tolist(), strict=True)
        )
    if class_ids.min() < 0 or class_ids.max() >= classes:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        sums = probabilities @ np.ones(classes, probabilities.dtype)
        chosen = probabilities[np.arange(len(class_ids)), class_ids] + _ROUNDING
        return bool(
            probabilities.min() >= -_ROUNDING
            and np.abs(sums - 1).max() <= _SUM_ERROR
            and (probabilities <= chosen[:, np.newaxis]).all()
        )


def _class_count(spec: TensorSpec | None) -> int | None:
    return spec.shape[-1] if spec is not None and spec.shape else None


def _writable(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a writable array of ``dtype``; copy only if needed."""
    return array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)


def _decode(names: NDArray[Any]) -> NDArray[np.str_]:
    values = names.tolist()
    # Few of the names differ, and to decode and convert each of them would take the most time here.
    numbers = {name: number for number, name in enumerate(dict.fromkeys(values))}
    try:
        texts = [name if isinstance(name, str) else name.decode() for name in numbers]
    except UnicodeDecodeError as error:
        raise BadAnswerError(f"received class names that are not UTF-8: {error}") from None
    longest = max(map(len, texts))
    if longest > _LONGEST_NAME:
        raise BadAnswerError(
            f"received a class name of {longest:,} characters; expected at most {_LONGEST_NAME:,}"
        )
    chosen = np.fromiter(map(numbers.__getitem__, values), np.intp, len(values))
    return np.array(texts)[chosen]
