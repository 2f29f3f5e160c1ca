"""Predictions, and the validation of answers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import BadAnswerError, Prediction, Predictions, TensorSpec
from kmnist.client.predictions import OUTPUTS, concatenate, empty, predictions
from kmnist.protocol.messages import Outputs

SPECS = {"probabilities": TensorSpec("DT_FLOAT", (None, 10))}
COUNTS = pytest.mark.parametrize("count", [1, 3, 1000])


def arrays(count: int = 3) -> dict[str, NDArray[Any]]:
    class_ids = np.arange(count) % 10
    return {
        "probabilities": np.eye(10, dtype=np.float32)[class_ids],
        "class_ids": class_ids,
        "class_names": np.array([b"%d" % each for each in class_ids], dtype=object),
    }


@COUNTS
def test_predictions_have_the_dtypes_of_their_documentation(count: int) -> None:
    found = predictions(Outputs(arrays(count)), count, SPECS)
    assert len(found) == count
    assert found.class_ids.dtype == np.int64
    assert found.probabilities.dtype == np.float32
    assert found.class_names.dtype.kind == "U"
    assert found.class_names.tolist() == [str(index % 10) for index in range(count)]


def test_names_are_utf_8_or_str() -> None:
    for names in (["ö".encode(), b"", b"a" * 99], ["ö", "", "a" * 99]):
        answer = arrays() | {"class_names": np.array(names, dtype=object)}
        found = predictions(Outputs(answer), 3, SPECS)
        assert found.class_names.tolist() == ["ö", "", "a" * 99]


def test_predictions_can_be_indexed_and_iterated() -> None:
    found = predictions(Outputs(arrays()), 3, SPECS)
    assert found[2] == Prediction(class_id=2, class_name="2", probability=1.0)
    assert [each.class_name for each in found] == ["0", "1", "2"]


def test_arrays_are_writable_and_copied_only_if_needed() -> None:
    answer = arrays()
    answer["class_ids"].flags.writeable = False
    found = predictions(Outputs(answer), 3, SPECS)
    assert found.class_ids.flags.writeable
    assert found.probabilities is answer["probabilities"]


def test_the_number_of_classes_is_that_of_the_answer_if_the_signature_lacks_it() -> None:
    for specs in ({}, {"probabilities": TensorSpec("DT_FLOAT", None)}):
        assert predictions(Outputs(arrays()), 3, specs).probabilities.shape == (3, 10)


def damaged(**changes: Any) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in (arrays() | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (damaged(probabilities=None), "lacks 'probabilities'; received class_ids, class_names"),
        (damaged(class_names=None), "lacks 'class_names'"),
        ({}, "lacks 'probabilities'; received no outputs"),
        (damaged(probabilities=np.zeros((3, 9), np.float32)), r"\(\(3, 9\), .*expected \(\(3, 10"),
        (damaged(probabilities=np.zeros((2, 10), np.float32)), r"\(\(2, 10\), .*expected \(\(3, 1"),
        (damaged(probabilities=np.zeros(3, np.float32)), r"\(\(3,\), .*expected \(\(3, 10"),
        (damaged(class_ids=np.zeros((3, 1), np.int64)), r"\(3, 1\), \(3,\)\); expected"),
        (damaged(probabilities=np.full((3, 10), np.nan, np.float32)), "NaN or infinite"),
        (damaged(probabilities=np.full((3, 10), np.inf, np.float32)), "NaN or infinite"),
        (damaged(class_ids=np.array([0, 1, 10])), "received classes 0 to 10; expected 0 to 9"),
        (damaged(class_ids=np.array([0, -1, 1])), "received classes -1 to 1"),
        (damaged(class_ids=np.array([0, 1, 3])), "class 3 with probability 0; .* 2 with 1$"),
        (damaged(class_names=np.array([b"a" * 5000] * 3, object)), "a class name of 5,000 char"),
        (damaged(class_ids=np.zeros(3, np.float32)), "'class_ids' as float32; expected integers"),
        (damaged(class_names=np.zeros(3)), "'class_names' as float64; expected strings"),
        (damaged(probabilities=np.zeros((3, 10), int)), "as int64; expected floats"),
        (damaged(class_names=np.array([b"\xff"] * 3, object)), "class names that are not UTF-8"),
    ],
)
def test_an_answer_that_contradicts_the_model_is_an_error(
    answer: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(BadAnswerError, match=message):
        predictions(Outputs(answer), 3, SPECS)


@COUNTS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_probability_is_found(count: int, bad: float) -> None:
    answer = arrays(count)
    answer["probabilities"][-1, 3] = bad
    with pytest.raises(BadAnswerError, match="NaN or infinite"):
        predictions(Outputs(answer), count, SPECS)


def test_no_class_at_all_is_an_error() -> None:
    answer = damaged(probabilities=np.zeros((3, 0), np.float32))
    with pytest.raises(BadAnswerError, match="received classes 0 to 2; expected 0 to -1"):
        predictions(Outputs(answer), 3, {})


@COUNTS
@pytest.mark.parametrize(
    "values", [(5.0, -4.0), (5.0, 0.0), (0.6, 0.6), (0.5, 0.0), (1.01, -0.01), (3e38, 3e38)]
)
def test_values_that_are_no_probabilities_are_found(
    count: int, values: tuple[float, float]
) -> None:
    answer = arrays(count)
    answer["class_ids"][-1] = 0
    answer["probabilities"][-1] = [*values, *[0] * 8]
    with pytest.raises(BadAnswerError, match=r"probabilities from .* expected values from 0 to 1"):
        predictions(Outputs(answer), count, SPECS)


@COUNTS
def test_a_class_that_is_not_the_most_probable_one_is_found(count: int) -> None:
    answer = arrays(count)
    answer["probabilities"][-1] = [0.3, 0.7, *[0] * 8]
    answer["class_ids"][-1] = 0
    with pytest.raises(BadAnswerError, match=r"class 0 with probability 0\.3; .* 1 with 0\.7$"):
        predictions(Outputs(answer), count, SPECS)


@COUNTS
def test_equally_probable_classes_and_rounding_are_accepted(count: int) -> None:
    answer = arrays(count)
    answer["probabilities"][-1] = [0.5, 0.5, *[0] * 8]
    for chosen in (0, 1):
        answer["class_ids"][-1] = chosen
        assert predictions(Outputs(answer), count, SPECS).class_ids[-1] == chosen
    answer["probabilities"] = np.random.default_rng(0).dirichlet(np.ones(10), count)
    answer["class_ids"] = answer["probabilities"].argmax(axis=1)
    answer["probabilities"] = answer["probabilities"].astype(np.float16)
    assert len(predictions(Outputs(answer), count, SPECS)) == count


def test_no_predictions_have_the_columns_of_the_model_if_it_is_known() -> None:
    assert empty(None).probabilities.shape == (0, 0)
    assert empty(SPECS["probabilities"]).probabilities.shape == (0, 10)
    assert len(empty(None)) == 0


def test_predictions_are_concatenated_in_order() -> None:
    found = predictions(Outputs(arrays()), 3, SPECS)
    joined = concatenate([found, empty(SPECS["probabilities"]), found])
    assert joined.class_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert joined.class_names.tolist() == ["0", "1", "2"] * 2
    assert joined.probabilities.shape == (6, 10)


def test_parts_with_different_numbers_of_classes_are_an_error() -> None:
    found = predictions(Outputs(arrays()), 3, SPECS)
    other = Predictions(found.class_ids, found.class_names, np.zeros((3, 9), np.float32))
    with pytest.raises(BadAnswerError, match="changed its number of classes during the call"):
        concatenate([found, other])


def test_every_output_of_a_prediction_is_requested() -> None:
    assert sorted(OUTPUTS) == sorted(Predictions.__dataclass_fields__)
