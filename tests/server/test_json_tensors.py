"""JSON bodies ↔ arrays."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.server.errors import StatusError
from kmnist.server.json_tensors import encode, parse

STRING = np.dtype(object)


def read(body: Any, **dtypes: Any) -> dict[str, NDArray[Any]]:
    """Parse a body for a signature whose inputs have these dtypes."""
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(encoded).inputs({name: np.dtype(dtype) for name, dtype in dtypes.items()})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"instances": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]),
        ({"inputs": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]),
        ({"inputs": {"x": [[1, 2], [3, 4]]}}, [[1, 2], [3, 4]]),
        ({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, [[1, 2], [3, 4]]),
        ({"inputs": 5}, 5),
        ({"inputs": []}, []),
        ({"instances": [5]}, [5]),
    ],
)
def test_row_form_and_column_form(body: Any, expected: Any) -> None:
    array = read(body, x="int32")["x"]
    assert array.dtype == np.int32
    np.testing.assert_array_equal(array, expected)


def test_several_inputs() -> None:
    rows = {"instances": [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2]}]}
    columns = {"inputs": {"a": [1, 2], "b": [[1.5], [2]]}}
    for body in (rows, columns):
        arrays = read(body, a="int64", b="float32")
        assert arrays["a"].tolist() == [1, 2]
        assert arrays["b"].tolist() == [[1.5], [2.0]]


def test_strings_are_text_or_base64_with_or_without_padding() -> None:
    body = {"instances": ["é", {"b64": "AP8="}, {"b64": "AP8"}, {"b64": ""}]}
    assert read(body, x=STRING)["x"].tolist() == ["é".encode(), b"\0\xff", b"\0\xff", b""]


def test_floats_may_be_integers_nan_or_infinite() -> None:
    array = read(b'{"inputs": [1, 2.5, NaN, Infinity, -Infinity]}', x="float32")["x"]
    np.testing.assert_array_equal(array, np.array([1, 2.5, np.nan, np.inf, -np.inf], np.float32))


def test_a_byte_order_mark_is_ignored() -> None:
    assert read(b'\xef\xbb\xbf{"inputs": [1]}', x="int32")["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("body", "dtype", "message"),
    [
        ({"inputs": [1.0]}, "int32", "Type: Number is not of expected type: int32"),
        ({"inputs": [True]}, "uint8", "Type: True is not of expected type: uint8"),
        ({"inputs": ["1"]}, "float32", "Type: String is not of expected type: float32"),
        ({"inputs": [None]}, "float32", "Type: Null is not of expected type: float32"),
        ({"inputs": [1]}, "bool", "Type: Number is not of expected type: bool"),
        ({"inputs": [1]}, STRING, "Type: Number is not of expected type: string"),
        ({"inputs": [{"b64": "AA=="}]}, "uint8", "Type: Object is not of expected type: uint8"),
        ({"inputs": [256]}, "uint8", "256 out of bounds for uint8"),
        ({"inputs": [-1]}, "uint8", "-1 out of bounds for uint8"),
        ({"inputs": [2**63]}, "int64", "too large"),
        ({"inputs": [10**400]}, "float64", "too large"),
        ({"inputs": [1e39]}, "float32", "without loss of precision"),
        (b'{"inputs": [NaN]}', "uint8", "NaN Type: Number is not of expected type: uint8"),
        ({"inputs": [{"b64": "*"}]}, STRING, "Unable to base64 decode"),
        ({"inputs": [{"b64": 1}]}, STRING, "not formatted correctly for base64 data"),
        (b'{"inputs": ["\\ud800"]}', STRING, "surrogates not allowed"),
        ({"inputs": [[1], 2]}, "int32", "found at incorrect level"),
        ({"inputs": [1, [2]]}, "int32", "Encountered list at unexpected level"),
        ({"inputs": [[1], [2, 3]]}, "int32", "unexpected size: 2"),
        ({"inputs": {"y": [1]}}, "int32", "Missing named input: x"),
        ({"inputs": {"x": [1], "y": [1]}}, "int32", "Unknown input: y"),
        ({"instances": [{"y": 1}]}, "int32", "keys must be equal to: x"),
        ({"instances": [{"x": 1}, 2]}, "int32", "Expecting object but got list at item 1"),
        ({"instances": [1, {"x": 2}]}, "int32", "Type: Object is not of expected type: int32"),
        ({"instances": 1}, "int32", "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "int32", "No values in 'instances' array"),
        ({"instances": [1], "inputs": [1]}, "int32", "expecting only one of"),
        ({"signature_name": 1, "inputs": [1]}, "int32", "key must be a string value"),
        (b'{"inputs": [1', "int32", "JSON Parse error"),
        (b'{"inputs": "\xff"}', STRING, "JSON Parse error"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "int64", "JSON Parse error"),
        (b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}", "int64", "more than 32 dimensions"),
        (b'{"inputs": ' + b"[" * 100_000, "int64", "nested too deeply"),
        (b'{"a":' * 100_000, "int64", "nested too deeply"),
    ],
)
def test_invalid_input_is_refused(body: Any, dtype: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        read(body, x=dtype)
    assert message in caught.value.message
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"images", "Invalid value. at offset: 0"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": 1', "Missing a comma or } after an object member. at offset: 7"),
        (b'{"a": [1', "Missing a comma or ] after an array element. at offset: 8"),
        (b'{"[\xc3\xa9": 1', "Missing a comma or } after an object member. at offset: 9"),
        (b'{"a": 1} 2', "The document root must not be followed by other values. at offset: 9"),
        (b'{"a": "\\x"}', "Invalid escape character in string."),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
        (b'{"a": "', "Missing a closing quotation mark in string."),
    ],
)
def test_a_parse_error_has_the_words_of_tensorflow_serving(body: bytes, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse(body)
    assert caught.value.message.startswith(f"JSON Parse error: {message}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"instances": [' + b"1," * 5_000_000 + b"1]}", "more than 5,000,000 JSON values"),
        (b'{"instances": [' + b"[]," * 200_000 + b"1]}", "more than 200,000 JSON arrays"),
        (b'{"x": {"a":' + b"[" * 65 + b"]" * 65 + b'}, "inputs": 1}', "the limit is 64"),
    ],
    ids=["values", "arrays", "levels"],
)
def test_a_document_of_too_many_values_is_refused_before_it_is_parsed(
    body: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(StatusError, match=message):
        parse(body)


def test_brackets_and_commas_in_strings_are_no_values() -> None:
    text = '[{,:\\"' * 1_300_000
    assert read({"inputs": [text]}, x=STRING)["x"].tolist() == [text.encode()]


@pytest.mark.parametrize("body", [{"inputs": [1]}, {"instances": [1]}])
def test_several_inputs_need_names(body: Any) -> None:
    with pytest.raises(StatusError, match="multiple input tensors required"):
        read(body, a="int32", b="int32")


def written(outputs: dict[str, NDArray[Any]], *, by_row: bool) -> Any:
    """Return the JSON value of a response."""
    return json.loads(encode(outputs, by_row=by_row))


def test_a_single_output_has_no_name() -> None:
    outputs = {"y": np.array([[1, 2], [3, 4]], np.int64)}
    assert written(outputs, by_row=True) == {"predictions": [[1, 2], [3, 4]]}
    assert written(outputs, by_row=False) == {"outputs": [[1, 2], [3, 4]]}


def test_several_outputs_have_names() -> None:
    names = np.array([b"one", b"two"], dtype=object)
    outputs = {"id": np.array([1, 2], np.int64), "name": names, "name_bytes": names}
    assert written(outputs, by_row=True) == {
        "predictions": [
            {"id": 1, "name": "one", "name_bytes": {"b64": "b25l"}},
            {"id": 2, "name": "two", "name_bytes": {"b64": "dHdv"}},
        ]
    }
    assert written(outputs, by_row=False) == {
        "outputs": {
            "id": [1, 2],
            "name": ["one", "two"],
            "name_bytes": [{"b64": "b25l"}, {"b64": "dHdv"}],
        }
    }


def test_floats_have_as_few_digits_as_possible() -> None:
    assert encode({"y": np.array([0.1, 1, 1e-10], np.float32)}, by_row=False) == (
        b'{"outputs": [0.1, 1.0, 1e-10]}'
    )


def test_nan_and_infinities_are_written_as_in_tensorflow_serving() -> None:
    outputs = {"y": np.array([np.nan, np.inf, -np.inf], np.float32)}
    assert encode(outputs, by_row=True) == b'{"predictions": [NaN, Infinity, -Infinity]}'


def test_invalid_utf8_is_replaced() -> None:
    outputs = {"y": np.array([b"\xff"], dtype=object)}
    assert written(outputs, by_row=True) == {"predictions": ["�"]}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"y": np.array(1.0)}, "has no shape information"),
        ({"y": np.zeros(2), "z": np.zeros(3)}, "has inconsistent batch size: 3 expecting: 2"),
    ],
)
def test_row_form_needs_equal_first_dimensions(
    outputs: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(StatusError, match=message):
        encode(outputs, by_row=True)
    encode(outputs, by_row=False)


def test_complex_numbers_have_no_json_form() -> None:
    with pytest.raises(StatusError, match="Failed to write JSON value"):
        encode({"y": np.array([1j], np.complex64)}, by_row=False)
