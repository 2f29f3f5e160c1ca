"""The JSON of TensorFlow Serving's REST API ↔ arrays.

A request in row form, ``{"instances": [...]}`` with one item per row, gets ``predictions``; one in
column form, ``{"inputs": ...}`` with one array per input, gets ``outputs``.

Source: tensorflow_serving/util/json_tensor.cc.
"""

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from reprlib import repr as brief_repr
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BodyError", "PredictBody", "encode", "parse", "to_array"]

_MAX_DIMENSIONS: Final = 32
# Parsing a body holds Python's global lock, so that meanwhile no other request is answered.
_MAX_DEPTH: Final = 64
_MAX_CONTAINERS: Final = 200_000  # arrays and objects, which cost most; an image of 28x28 has 29
_MAX_VALUES: Final = 5_000_000

# The step in depth at each bracket, as a signed byte, and the bytes that are no brackets.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))

# What JSON may contain for a kind of dtype; a bool or a float is no integer.
_TYPES_OF_KIND: Final[Mapping[str, set[type]]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
    "O": {str, dict},
}


class BodyError(ValueError):
    """A body is not a predict request, does not fit the signature, or exceeds a limit."""


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
            BodyError: Names, types or shapes do not match the signature.
        """
        values = self._values(dtypes)
        return {
            name: to_array(f"input {name!r}", values[name], dtype) for name, dtype in dtypes.items()
        }

    def _values(self, names: Collection[str]) -> Mapping[str, Any]:
        """Return the JSON value of each input, whose name may be left out if there is only one."""
        items = self.value if self.by_row else [self.value]
        if len(names) == 1 and not any(map(_is_named, items)):
            return dict.fromkeys(names, self.value)
        for number, item in enumerate(items):
            if not _is_named(item) or item.keys() != set(names):
                place = f"instances[{number}]" if self.by_row else "inputs"
                expected = ", ".join(sorted(names))
                raise BodyError(f"{place} must be an object with the keys {expected}")
        if self.by_row:
            return {name: [item[name] for item in items] for name in names}
        return dict(self.value)


def parse(body: bytes | bytearray) -> PredictBody:
    """Parse the body of a predict request.

    As in TensorFlow Serving, everything after the first JSON value is ignored.

    Raises:
        BodyError: The body is not JSON, has too many values or levels, or is neither in row form
            nor in column form.
    """
    # Brackets and commas in strings do not count, but finding the strings takes a while.
    if _excess(body) and (excess := _excess(_without_strings(body))):
        raise BodyError(f"JSON Parse error: the body has more than {excess}")
    try:
        text = body.decode("utf-8-sig").lstrip()
        document, _ = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise BodyError("the body must be a JSON object")
    signature_name = document.get("signature_name", "")
    if not isinstance(signature_name, str):
        raise BodyError("signature_name must be a string")
    forms = document.keys() & {"instances", "inputs"}
    if len(forms) != 1:
        raise BodyError("the body must have one of the keys 'instances' and 'inputs'")
    (form,) = forms
    value = document[form]
    if form == "instances" and not (isinstance(value, list) and value):
        raise BodyError("instances must be a list of at least one row")
    return PredictBody(signature_name, form == "instances", value)


def encode(outputs: Mapping[str, NDArray[Any]], *, by_row: bool) -> bytes:
    """Return the body of a response.

    The values of a single output are written without its name. Strings are text, or base64 if the
    name of the output ends in ``_bytes``. NaN and infinities are written as such, although strict
    JSON does not allow them.

    Args:
        outputs: An array for each output; strings are object arrays of bytes.
        by_row: Write ``predictions`` row by row instead of ``outputs`` column by column.

    Raises:
        BodyError: A dtype has no JSON form, or in row form, the first dimensions differ.
    """
    sizes = {array.shape[:1] for array in outputs.values()}
    if by_row and (len(sizes) > 1 or () in sizes):
        raise BodyError(
            "the outputs have no common first dimension: send 'inputs', not 'instances'"
        )
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


def _excess(body: bytes | bytearray) -> str:
    """Return the limit that a document exceeds, "" if none; anything in strings counts too."""
    containers = body.count(b"[") + body.count(b"{")
    if containers + body.count(b",") + body.count(b":") > _MAX_VALUES:
        return f"{_MAX_VALUES:,} values: send fewer rows per request"
    if containers > _MAX_CONTAINERS:
        return f"{_MAX_CONTAINERS:,} arrays and objects: send fewer rows per request"
    steps = np.frombuffer(body.translate(_STEPS, _NO_BRACKETS), np.int8)
    if containers > _MAX_DEPTH and steps.cumsum(dtype=np.int64).max(initial=0) > _MAX_DEPTH:
        return f"{_MAX_DEPTH} levels of arrays and objects"
    return ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"an object has the key {brief_repr(twice)} twice")
    return members


def _without_strings(body: bytes | bytearray) -> bytes:
    # A regular expression would create an object for every string.
    body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    codes = np.frombuffer(body, np.uint8)
    is_outside = np.logical_not(np.logical_xor.accumulate(codes == ord('"')))
    return codes[is_outside].tobytes()


def to_array(what: str, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert a JSON value to an array.

    Args:
        what: What to call it in a message.
        value: A value or nested lists of values; strings are text or ``{"b64": "..."}``.
        dtype: The dtype of the array; object stands for strings, which become bytes.

    Raises:
        BodyError: The lists are ragged, or a value is none of the dtype.
    """
    nested = np.array(value, dtype=object)
    flat = nested.ravel().tolist()
    types = set(map(type, flat))
    if list in types:
        raise BodyError(f"{what} has lists of different lengths or depths")
    if nested.ndim > _MAX_DIMENSIONS:
        raise BodyError(f"{what} has more than {_MAX_DIMENSIONS} dimensions")
    if wrong := types - _TYPES_OF_KIND.get(_kind(dtype), set()):
        odd = next(item for item in flat if type(item) in wrong)
        expected = "strings" if dtype.kind == "O" else dtype
        raise BodyError(f"{what} must consist of {expected}, not {brief_repr(odd)}")
    try:
        return _converted(flat, dtype).reshape(nested.shape)
    except (ArithmeticError, ValueError) as error:  # out of range, no base64, a lone surrogate
        raise BodyError(f"{what}: {error}") from None


def _kind(dtype: np.dtype[Any]) -> str:
    return "f" if dtype.name == "bfloat16" else dtype.kind  # which is no dtype of NumPy's own


def _converted(flat: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "O":
        flat = [item.encode() if type(item) is str else _decoded(item) for item in flat]
    if _kind(dtype) != "f":
        return np.array(flat, dtype=dtype)
    with np.errstate(over="raise"):
        return np.array(flat, dtype=np.float64).astype(dtype)


def _decoded(item: dict[str, Any]) -> bytes:
    if _is_named(item):
        raise BodyError('a string must be text or {"b64": "..."}')
    text = item["b64"]
    # Padding is optional, as in TensorFlow Serving.
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _is_named(value: Any) -> bool:
    """Return whether it is an object with inputs by name, not a single ``{"b64": "..."}``."""
    return isinstance(value, dict) and not (
        value.keys() == {"b64"} and isinstance(value["b64"], str)
    )


def _listed(name: str, array: NDArray[Any]) -> Any:
    """Return the array as nested lists of JSON values."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    if array.dtype.kind == "O":
        flat: list[Any] = [_string(value, name) for value in array.ravel().tolist()]
    elif array.dtype.name in ("float32", "float16"):
        # 0.1, not 0.10000000149011612: the fewest digits that identify the number.
        flat = [float(str(number)) for number in array.ravel()]
    elif array.dtype.kind in _TYPES_OF_KIND:
        return array.tolist()
    else:
        raise BodyError(f"output {name!r} of {array.dtype} has no JSON form")
    return np.array(flat, dtype=object).reshape(array.shape).tolist()


def _string(value: bytes, name: str) -> str | dict[str, str]:
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")
