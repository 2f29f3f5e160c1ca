"""Predictions, and the validation of answers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import Prediction, Predictions, TensorSpec
from kmnist.client.answers import OUTPUTS, read_predictions
from kmnist.errors import BadAnswerError

SPECS = {"probabilities": TensorSpec("DT_FLOAT", (None, 10))}


def arrays(**changes: Any) -> dict[str, NDArray[Any]]:
    """Return a good answer for three images, with some outputs replaced, or removed by None."""
    class_ids = np.arange(3)
    found: dict[str, Any] = {
        "probabilities": np.eye(10, dtype=np.float32)[class_ids],
        "class_ids": class_ids,
        "class_names": np.array([b"0", "ö".encode(), b""], dtype=object),
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def read(**changes: Any) -> Predictions:
    return read_predictions(arrays(**changes), 3, SPECS)


def test_predictions_are_arrays_and_tuples() -> None:
    found = read()
    assert sorted(OUTPUTS) == sorted(Predictions.__dataclass_fields__)
    assert found.class_names.tolist() == ["0", "ö", ""]
    assert found[2] == Prediction(class_id=2, class_name="", probability=1.0)
    assert [each.class_id for each in found] == [0, 1, 2]
    assert len(found) == 3


def test_the_number_of_classes_is_that_of_the_answer_if_the_signature_lacks_it() -> None:
    assert read_predictions(arrays(), 3, {}).probabilities.shape == (3, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": None}, "no probabilities, only class_ids, class_names"),
        (dict.fromkeys(OUTPUTS), "no probabilities, only nothing"),
        ({"probabilities": np.zeros((3, 9), np.float32)}, r"\(3, 9\), .* 3 images of 10 classes"),
        ({"probabilities": np.zeros((2, 10), np.float32)}, r"probabilities \(2, 10\), 3 class_ids"),
        ({"probabilities": np.zeros((3, 10), int)}, r"probabilities as int64 of shape \(3, 10\)"),
        ({"probabilities": np.zeros(3, np.float32)}, r"as float32 of shape \(3,\)"),
        ({"probabilities": np.full((3, 10), np.nan, np.float32)}, "from nan to nan, not 0 to 1"),
        ({"probabilities": np.full((3, 10), np.inf, np.float32)}, "from inf to inf"),
        ({"probabilities": np.full((3, 10), -0.5, np.float32)}, "from -0.5 to -0.5"),
        ({"probabilities": np.full((3, 10), 2, np.float32)}, "from 2 to 2, not 0 to 1"),
        ({"class_ids": np.zeros((3, 1), np.int64)}, "class_ids as int64 of shape"),
        ({"class_ids": np.zeros(3, np.float32)}, "class_ids as float32"),
        ({"class_ids": np.array([0, 1, 10])}, "class_ids from 0 to 10, not 0 to 9"),
        ({"class_ids": np.array([0, -1, 1])}, "class_ids from -1 to 1"),
        ({"class_names": np.zeros(3)}, "class_names as float64"),
        ({"class_names": np.array([b"\xff"] * 3, object)}, "class names that are not UTF-8"),
    ],
)
def test_an_answer_that_contradicts_the_model_is_an_error(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadAnswerError, match=message):
        read(**changes)
