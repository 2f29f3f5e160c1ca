"""Bodies of the REST API: a predict request, or one line that says why not."""

import json
from contextlib import suppress
from typing import Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kmnist.protocol.json import BodyError, encode, parse
from tests.fuzz.conftest import Ceiling

_DTYPES: Final = ("bool", "int8", "uint64", "float16", "float32", "object")

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just({"b64": "eHg="})
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["x", "y", "b64"]), inner),
)
_keys = st.sampled_from(["instances", "inputs", "signature_name", "x"])
_documents = st.dictionaries(_keys, _values).map(lambda document: json.dumps(document).encode())
_nested = st.tuples(
    st.sampled_from([b'{"inputs":[', b"[", b'{"x":{', b'["]",']), st.integers(1, 30_000)
)


@given(
    body=st.binary() | _documents | _nested.map(lambda each: each[0] * each[1]),
    cut=st.integers(0, 40),
    dtypes=st.dictionaries(st.sampled_from("xy"), st.sampled_from(_DTYPES), min_size=1),
)
def test_a_body_is_a_request_or_one_line(
    ceiling: Ceiling, body: bytes, cut: int, dtypes: dict[str, str]
) -> None:
    with ceiling(), suppress(BodyError):
        parsed = parse(body[: len(body) - cut])
        arrays = parsed.inputs({name: np.dtype(dtype) for name, dtype in dtypes.items()})
        assert list(json.loads(encode(arrays, by_row=False))) == ["outputs"]
