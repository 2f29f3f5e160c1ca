"""The bodies of REST requests and responses: JSON ↔ arrays.

The format and the first words of the messages are TensorFlow Serving's
(tensorflow_serving/util/json_tensor.cc). A request in row form, ``{"instances": [...]}`` with one
item per row, gets ``predictions``; one in column form, ``{"inputs": ...}`` with one array per
input, gets ``outputs``.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.server.errors import StatusError, invalid, shortened

__all__ = ["PredictBody", "encode", "parse"]

_MAX_DIMENSIONS: Final = 32
# Parsing a body holds Python's global lock, so that meanwhile no other request is answered.
_MAX_DEPTH: Final = 64
_MAX_CONTAINERS: Final = 200_000  # arrays and objects, which cost most; an image of 28x28 has 29
_MAX_VALUES: Final = 5_000_000
_BYTES_SUFFIX: Final = "_bytes"
_BRACKETS: Final = re.compile(r"[\[\]{}]")
# RapidJSON's words for the errors of Python's parser.
_PARSE_ERRORS: Final = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Extra data": "The document root must not be followed by other values.",
}
_JSON_TYPES: Final = {
    int: "Number",
    float: "Number",
    str: "String",
    list: "Array",
    dict: "Object",
    type(None): "Null",
}


@dataclass(frozen=True)
class PredictBody:
    """A predict request before its inputs are converted for a signature.

    Attributes:
        signature_name: The name of the signature; "" for the default one.
        by_row: Whether the request is in row form.
        value: The JSON value of ``instances``, a list that is not empty, or of ``inputs``.
    """

    signature_name: str
    by_row: bool
    value: Any

    def inputs(self, dtypes: Mapping[str, np.dtype[Any]]) -> dict[str, NDArray[Any]]:
        """Convert the JSON value to an array for each input.

        Args:
            dtypes: The dtypes of the signature's inputs by name; object stands for strings.

        Raises:
            StatusError: Names, types or shapes do not match the signature.
        """
        if not dtypes:
            raise invalid(
                f"Failed to get input map for signature: {shortened(self.signature_name)}"
            )
        columns = self._rows(dtypes) if self.by_row else self._columns(dtypes)
        return {name: _array(name, columns[name], dtype) for name, dtype in dtypes.items()}

    def _rows(self, dtypes: Mapping[str, Any]) -> dict[str, list[Any]]:
        rows = self.value
        if not _is_named(rows[0]):
            if len(dtypes) > 1:
                raise invalid(
                    "instances is a plain list, but expecting list of objects as multiple input "
                    "tensors required as per tensorinfo_map"
                )
            return dict.fromkeys(dtypes, rows)
        for number, row in enumerate(rows):
            if not _is_named(row):
                raise invalid(f"Expecting object but got list at item {number} of input list")
            if row.keys() != dtypes.keys():
                raise invalid(
                    f"Failed to process element: {number} of 'instances' list. JSON object: "
                    f"{_shown(row)} keys must be equal to: {','.join(sorted(dtypes))}"
                )
        return {name: [row[name] for row in rows] for name in dtypes}

    def _columns(self, dtypes: Mapping[str, Any]) -> dict[str, Any]:
        if not _is_named(self.value):
            if len(dtypes) > 1:
                raise invalid(
                    "inputs is a plain value/list, but expecting an object as multiple input "
                    "tensors required as per tensorinfo_map"
                )
            return dict.fromkeys(dtypes, self.value)
        for name in dtypes:
            if name not in self.value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        for name in self.value:
            if name not in dtypes:
                raise invalid(
                    f"Unknown input: {shortened(name)} in 'inputs' object; "
                    f"expected: {','.join(sorted(dtypes))}"
                )
        return dict(self.value)


def parse(body: bytes | bytearray) -> PredictBody:
    """Parse the body of a predict request.

    Raises:
        StatusError: The body is not JSON, or neither in row form nor in column form.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    _check_size(body)
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise invalid(f"JSON Parse error: {_parse_error(error)} at offset: {offset}") from None
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from None
    except ValueError as error:  # an integer of thousands of digits
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    match [key for key in ("instances", "inputs") if key in document]:
        case ["inputs"]:
            return PredictBody(signature_name, False, document["inputs"])
        case ["instances"]:
            rows = document["instances"]
            if not isinstance(rows, list):
                raise invalid(
                    f"JSON Value: {_shown(document)} Excepting 'instances' to be an list/array"
                )
            if not rows:
                raise invalid(f"JSON Value: {_shown(document)} No values in 'instances' array")
            return PredictBody(signature_name, True, rows)
        case []:
            raise invalid("Missing 'inputs' or 'instances' key")
        case _:
            raise invalid(
                f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of "
                "'inputs' or 'instances' keys to exist "
            )


def encode(outputs: Mapping[str, NDArray[Any]], *, by_row: bool) -> bytes:
    """Return the body of a response.

    The values of a single output are written without its name. Strings are text, or base64 if the
    name of the output ends in ``_bytes``. NaN and infinities are written as such, although strict
    JSON does not allow them.

    Args:
        outputs: An array for each output; strings are object arrays of bytes.
        by_row: Write ``predictions`` row by row instead of ``outputs`` column by column.

    Raises:
        StatusError: A dtype has no JSON form, or in row form, the first dimensions differ.
    """
    if by_row:
        _check_rows(outputs)
    columns = {name: _listed(name, array) for name, array in outputs.items()}
    if not by_row:
        value: Any = columns if len(columns) > 1 else next(iter(columns.values()))
        return json.dumps({"outputs": value}).encode()
    rows: Any = zip(*columns.values(), strict=True)
    if len(columns) > 1:
        predictions = [dict(zip(columns, row, strict=True)) for row in rows]
    else:
        predictions = [row[0] for row in rows]
    return json.dumps({"predictions": predictions}).encode()


def _check_rows(outputs: Mapping[str, NDArray[Any]]) -> None:
    size = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size not in (None, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)


def _listed(name: str, array: NDArray[Any]) -> Any:
    """Return the array as nested lists of JSON values."""
    if array.dtype.name in ("float32", "float16"):
        # 0.1, not 0.10000000149011612: the fewest digits that identify the number.
        flat = [float(str(number)) for number in array.ravel()]
    elif array.dtype.kind == "O":
        as_bytes = name.endswith(_BYTES_SUFFIX)
        flat = [_string(value, as_bytes) for value in array.ravel().tolist()]
    elif array.dtype.kind in "biuf":
        return array.tolist()
    else:
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype}")
    boxed = np.empty(len(flat), dtype=object)
    boxed[:] = flat
    return boxed.reshape(array.shape).tolist()


def _string(value: bytes, as_bytes: bool) -> Any:
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")


def _array(name: str, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert nested lists to an array, without recursion that deep nesting could exhaust."""
    shape, flat = _flattened(name, value)
    try:
        values = _strings(flat) if dtype.kind == "O" else _numbers(flat, dtype)
    except (
        OverflowError,
        UnicodeEncodeError,
    ) as error:  # a number out of range, an unpaired surrogate
        raise invalid(f"input {name!r}: {error}; expected values of {dtype}") from None
    return values.reshape(shape)


def _flattened(name: str, value: Any) -> tuple[tuple[int, ...], list[Any]]:
    shape: list[int] = []
    level = [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if len(shape) == _MAX_DIMENSIONS:
            raise invalid(f"input {name!r} has more than {_MAX_DIMENSIONS} dimensions")
        for item in level:
            if type(item) is not list:
                raise invalid(
                    f"JSON Value: {_shown(item)} found at incorrect level: {len(shape) + 1} in "
                    f"the JSON DOM. Expected a list of size: {size}"
                )
            if len(item) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(item)} at level: {len(shape)} "
                    f"expected size: {size}"
                )
        shape.append(size)
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _numbers(flat: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    allowed: dict[str, set[type]] = {
        "b": {bool},
        "i": {int},
        "u": {int},
        "f": {int, float},
    }
    if dtype.kind not in allowed:
        raise invalid(f"values of type {dtype} cannot be sent as JSON")
    _check_types(flat, allowed[dtype.kind], dtype.name)
    if dtype.kind != "f":
        return np.array(flat, dtype=dtype)  # OverflowError if out of range
    wide = np.array(flat, dtype=np.float64)
    with np.errstate(over="ignore"):
        values = wide.astype(dtype)
    lost = np.isinf(values) & np.isfinite(wide)
    if lost.any():
        raise invalid(
            f"Cannot convert JSON value: {wide[lost][0]} to {dtype} without loss of precision."
        )
    return values


def _strings(flat: list[Any]) -> NDArray[Any]:
    _check_types(flat, {str, dict}, "string")
    values = np.empty(len(flat), dtype=object)
    values[:] = [item.encode() if type(item) is str else _decoded(item) for item in flat]
    return values


def _check_types(flat: list[Any], allowed: set[type], expected: str) -> None:
    if set(map(type, flat)) <= allowed:
        return
    odd = next(item for item in flat if type(item) not in allowed)
    if type(odd) is list:
        raise invalid(f"JSON Value: {_shown(odd)} Encountered list at unexpected level")
    raise invalid(
        f"JSON Value: {_shown(odd)} Type: {_json_type(odd)} is not of expected type: {expected}"
    )


def _is_named(value: Any) -> bool:
    """Return whether it is an object with inputs by name, not a single ``{"b64": ...}``."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict[str, Any]) -> bool:
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _decoded(item: dict[str, Any]) -> bytes:
    if not _is_base64(item):
        raise invalid(f"JSON Value: {_shown(item)} not formatted correctly for base64 data")
    text = item["b64"]
    try:
        # Padding is optional, as in TensorFlow Serving.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _json_type(value: Any) -> str:
    return str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]


def _shown(value: Any) -> str:
    """Return a value for a message as TensorFlow Serving writes it, or the beginning of a long one."""
    if isinstance(value, (list, dict)) and len(value) > 8:
        return f"{_json_type(value)} of {len(value):,}"
    try:
        text = json.dumps(value, indent=4)
    except RecursionError:
        return _json_type(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _check_size(body: bytes | bytearray) -> None:
    """Refuse a document of too many values or levels before objects are created for them.

    Raises:
        StatusError: A limit is exceeded.
    """
    containers, values = _counted(body)
    if containers <= _MAX_DEPTH and values <= _MAX_VALUES:
        return
    if values > _MAX_VALUES or containers > _MAX_CONTAINERS or _depth(body) > _MAX_DEPTH:
        # Brackets and commas may have been those of strings.
        body = _without_strings(body)
        containers, values = _counted(body)
    if values > _MAX_VALUES:
        raise invalid(
            f"the body has more than {_MAX_VALUES:,} JSON values; send fewer rows per request"
        )
    if containers > _MAX_CONTAINERS:
        raise invalid(
            f"the body has more than {_MAX_CONTAINERS:,} JSON arrays and objects; "
            "send fewer rows per request"
        )
    if _depth(body) > _MAX_DEPTH:
        raise _too_deep()


def _without_strings(body: bytes | bytearray) -> bytes:
    # A regular expression would create an object for every string.
    body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    codes = np.frombuffer(body, np.uint8)
    is_outside = np.logical_not(np.logical_xor.accumulate(codes == ord('"')))
    return codes[is_outside].tobytes()


def _counted(body: bytes | bytearray) -> tuple[int, int]:
    """Return the number of arrays and objects, and of all values and keys, at most."""
    containers = body.count(b"[") + body.count(b"{")
    return containers, containers + body.count(b",") + body.count(b":")


def _depth(body: bytes | bytearray) -> int:
    steps = _STEP_OF_BYTE[np.frombuffer(body, np.uint8)]
    return int(np.cumsum(steps[steps != 0], dtype=np.int64).max(initial=0))


def _step_of_byte() -> NDArray[np.int8]:
    steps = np.zeros(256, np.int8)
    steps[list(b"[{")] = 1
    steps[list(b"]}")] = -1
    return steps


_STEP_OF_BYTE: Final = _step_of_byte()


def _too_deep() -> StatusError:
    return invalid(
        f"JSON Parse error: the document is nested too deeply; the limit is {_MAX_DEPTH}"
    )


def _parse_error(error: json.JSONDecodeError) -> str:
    if error.msg == "Expecting ',' delimiter":
        before = _without_strings(error.doc[: error.pos].encode()).decode()
        opened: list[str] = []
        for bracket in _BRACKETS.findall(before):
            if bracket in "[{":
                opened.append(bracket)
            elif opened:
                opened.pop()
        if opened[-1:] == ["{"]:
            return "Missing a comma or } after an object member."
        return "Missing a comma or ] after an array element."
    return _PARSE_ERRORS.get(error.msg, "Invalid value.")
