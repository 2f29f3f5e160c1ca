"""The JSON of the REST API ↔ arrays."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.protocol.json import BodyError, encode, parse

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
        ({"inputs": [[], []]}, [[], []]),
        (b'\xef\xbb\xbf {"inputs": [1]} and the rest is ignored', [1]),
    ],
)
def test_row_form_and_column_form(body: Any, expected: Any) -> None:
    array = read(body, x="int32")["x"]
    assert array.dtype == np.int32
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2]}]},
        {"inputs": {"a": [1, 2], "b": [[1.5], [2]]}},
    ],
)
def test_several_inputs(body: Any) -> None:
    arrays = read(body, a="int64", b="float32")
    assert arrays["a"].tolist() == [1, 2]
    assert arrays["b"].tolist() == [[1.5], [2.0]]


def test_strings_are_text_or_base64_with_or_without_padding() -> None:
    body = {"instances": ["é", {"b64": "AP8="}, {"b64": "AP8"}, {"b64": ""}]}
    assert read(body, x=STRING)["x"].tolist() == ["é".encode(), b"\0\xff", b"\0\xff", b""]
    text = '[{,:\\"' * 1_300_000  # brackets and commas in strings do not count
    assert read({"inputs": [text]}, x=STRING)["x"].tolist() == [text.encode()]


def test_floats_may_be_integers_nan_or_infinite() -> None:
    array = read(b'{"inputs": [1, 2.5, NaN, Infinity, -Infinity]}', x="float32")["x"]
    np.testing.assert_array_equal(array, np.array([1, 2.5, np.nan, np.inf, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("body", "dtype", "message"),
    [
        (b"", "int32", "JSON Parse error: "),
        (b"images", "int32", "JSON Parse error: "),
        (b'{"inputs": [1', "int32", "JSON Parse error: "),
        (b'{"inputs": "\xff"}', STRING, "JSON Parse error: "),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "int64", "JSON Parse error: "),
        (b"[" + b"1," * 5_000_000 + b"1]", "uint8", "JSON Parse error: .*more than 5,000,000 val"),
        (b"[" + b"[]," * 200_000 + b"1]", "uint8", "JSON Parse error: .* 200,000 arrays and obj"),
        (b'{"x": {"a":' + b"[" * 63, "uint8", "JSON Parse error: .* 64 levels"),
        (b'["]",' * 100_000, "uint8", "JSON Parse error: "),  # deep, and seems to be flat
        (b'{"inputs": {"x": [1], "x": [2]}}', "int32", "an object has the key 'x' twice"),
        ([1], "int32", "must be a JSON object"),
        ({}, "int32", "one of the keys 'instances' and 'inputs'"),
        ({"instances": [1], "inputs": [1]}, "int32", "one of the keys"),
        ({"instances": 1}, "int32", "a list of at least one row"),
        ({"instances": []}, "int32", "a list of at least one row"),
        ({"signature_name": 1, "inputs": [1]}, "int32", "signature_name must be a string"),
        ({"inputs": {"y": [1]}}, "int32", "inputs must be an object with the keys x"),
        ({"inputs": {"x": [1], "y": [1]}}, "int32", "inputs must be .* with the keys x"),
        (
            {"instances": [{"x": 1}, {"y": 1}]},
            "int32",
            r"instances\[1\] must be .* with the keys x",
        ),
        ({"instances": [{"x": 1}, 2]}, "int32", r"instances\[1\] must be an object"),
        ({"inputs": [[1], 2]}, "int32", "'x' has lists of different lengths or depths"),
        ({"inputs": [[1], [2, 3]]}, "int32", "'x' has lists of different lengths"),
        ({"inputs": [["a"], ["b", "c"]]}, STRING, "'x' has lists of different lengths"),
        (b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}", "int64", "more than 32 dimensions"),
        ({"inputs": [1.0]}, "int32", "must consist of int32, not 1.0"),
        ({"inputs": [True]}, "uint8", "must consist of uint8, not True"),
        ({"inputs": ["1"]}, "float32", "must consist of float32, not '1'"),
        ({"inputs": [None]}, "float32", "must consist of float32, not None"),
        ({"inputs": [1]}, "bool", "must consist of bool, not 1"),
        ({"inputs": [1]}, STRING, "must consist of strings, not 1"),
        ({"inputs": [1]}, "complex64", "must consist of complex64, not 1"),
        (b'{"inputs": [NaN]}', "uint8", "must consist of uint8, not nan"),
        ({"inputs": [256]}, "uint8", "256 out of bounds for uint8"),
        ({"inputs": [-1]}, "uint8", "-1 out of bounds for uint8"),
        ({"inputs": [2**63]}, "int64", "too large"),
        ({"inputs": [10**400]}, "float64", "too large"),
        ({"inputs": [1e39]}, "float32", "overflow"),
        ({"inputs": [{"b64": "*"}]}, STRING, "base64"),
        ({"inputs": [{"b64": 1}]}, STRING, "'x'"),
        (b'{"inputs": ["\\ud800"]}', STRING, "surrogates not allowed"),
    ],
)
def test_a_body_that_cannot_be_used_is_an_error(body: Any, dtype: Any, message: str) -> None:
    with pytest.raises(BodyError, match=message):
        read(body, x=dtype)


@pytest.mark.parametrize("body", [{"inputs": [1]}, {"instances": [1]}])
def test_several_inputs_need_names(body: Any) -> None:
    with pytest.raises(BodyError, match="an object with the keys a, b"):
        read(body, a="int32", b="int32")


def test_a_single_output_has_no_name() -> None:
    # With as few digits as possible, and NaN and infinities as in TensorFlow Serving.
    outputs = {"y": np.array([[0.1, 1], [np.nan, -np.inf]], np.float32)}
    values = b"[[0.1, 1.0], [NaN, -Infinity]]"
    assert encode(outputs, by_row=True) == b'{"predictions": ' + values + b"}"
    assert encode(outputs, by_row=False) == b'{"outputs": ' + values + b"}"


def test_several_outputs_have_names() -> None:
    names = np.array([b"one", b"\xff"], dtype=object)
    outputs = {"id": np.array([1, 2], np.int64), "name": names, "name_bytes": names}
    one = {"id": 1, "name": "one", "name_bytes": {"b64": "b25l"}}
    two = {"id": 2, "name": "\ufffd", "name_bytes": {"b64": "/w=="}}
    assert json.loads(encode(outputs, by_row=True)) == {"predictions": [one, two]}
    assert json.loads(encode(outputs, by_row=False)) == {
        "outputs": {name: [one[name], two[name]] for name in outputs}
    }


@pytest.mark.parametrize(
    "outputs", [{"y": np.array(1.0)}, {"y": np.zeros(2), "z": np.zeros(3)}], ids=["scalar", "sizes"]
)
def test_row_form_needs_equal_first_dimensions(outputs: dict[str, NDArray[Any]]) -> None:
    with pytest.raises(BodyError, match="no common first dimension"):
        encode(outputs, by_row=True)
    encode(outputs, by_row=False)


def test_complex_numbers_have_no_json_form() -> None:
    with pytest.raises(BodyError, match="'y' of complex64 has no JSON form"):
        encode({"y": np.array([1j], np.complex64)}, by_row=False)
