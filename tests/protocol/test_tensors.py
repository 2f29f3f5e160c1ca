"""Conversion between numpy arrays and TensorProto messages."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import TensorError, dtype_name, from_array, shape_of, to_array

NUMERIC = [np.dtype(code) for code in "?bhilBHILefdFD"]
FIELDS = [field.name for field in pb.TensorProto.DESCRIPTOR.fields if field.name.endswith("_val")]


def tensor(data_type: pb.DataType, *shape: int, **values: Any) -> pb.TensorProto:
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    return pb.TensorProto(dtype=data_type, tensor_shape=pb.TensorShapeProto(dim=dims), **values)


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4), (5, 20)], ids=str)
def test_numbers_are_read_as_written(
    dtype: np.dtype[Any], shape: tuple[int, ...], typed: bool
) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    written = from_array(values, typed=typed)
    assert bool(written.tensor_content) == (values.size > 0 and not typed)
    read = to_array(pb.TensorProto.FromString(written.SerializeToString()))
    assert read.dtype == dtype
    assert read.shape == shape
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("values", "dtype", "field", "stored"),
    [
        ([0.5], "f4", "float_val", [0.5]),
        ([0.1], "f8", "double_val", [0.1]),
        ([1], "f2", "half_val", [0x3C00]),
        ([-1], "i8", "int64_val", [-1]),
        ([2**64 - 1], "u8", "uint64_val", [2**64 - 1]),
        ([2**32 - 1], "u4", "uint32_val", [2**32 - 1]),
        ([-1], "i4", "int_val", [-1]),
        ([255], "u1", "int_val", [255]),
        ([True], "?", "bool_val", [True]),
        ([1 + 2j], "c8", "scomplex_val", [1, 2]),
        ([1 + 2j], "c16", "dcomplex_val", [1, 2]),
        ([b"a"], "O", "string_val", [b"a"]),
    ],
)
def test_typed_numbers_are_in_the_field_of_their_dtype(
    values: list[Any], dtype: str, field: str, stored: list[Any]
) -> None:
    written = from_array(np.array(values, dtype), typed=True)
    assert {name: list(getattr(written, name)) for name in FIELDS if getattr(written, name)} == {
        field: stored
    }


def test_a_message_inside_another_can_be_filled() -> None:
    request = pb.PredictRequest()
    from_array(np.zeros((1, 2), np.uint8), request.inputs["images"])
    assert to_array(request.inputs["images"]).shape == (1, 2)


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
def test_big_endian_and_strided_arrays_are_written_by_value(typed: bool) -> None:
    values = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(to_array(from_array(values, typed=typed)), values)
    parts = np.arange(12, dtype=">c8").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(to_array(from_array(parts, typed=typed)), parts)


def test_strings_are_read_as_bytes() -> None:
    written = np.array([["seven", b"\xff\x00"], ["", "ö"]], dtype=object)
    read = to_array(from_array(written))
    assert read.tolist() == [[b"seven", b"\xff\x00"], [b"", "ö".encode()]]


def test_tensor_content_is_read_without_a_copy() -> None:
    assert not to_array(from_array(np.zeros(3, np.float32))).flags.owndata


@pytest.mark.parametrize(
    ("data_type", "field", "values"),
    [
        (pb.DT_FLOAT, "float_val", [0.5, -1.0, 2.0]),
        (pb.DT_DOUBLE, "double_val", [0.1, -1.0, 2.0]),
        (pb.DT_INT32, "int_val", [-(2**31), 0, 2**31 - 1]),
        (pb.DT_UINT8, "int_val", [0, 1, 255]),
        (pb.DT_INT8, "int_val", [-128, 0, 127]),
        (pb.DT_INT16, "int_val", [-(2**15), 0, 2**15 - 1]),
        (pb.DT_UINT16, "int_val", [0, 1, 2**16 - 1]),
        (pb.DT_INT64, "int64_val", [-(2**63), 0, 2**63 - 1]),
        (pb.DT_UINT32, "uint32_val", [0, 1, 2**32 - 1]),
        (pb.DT_UINT64, "uint64_val", [0, 1, 2**64 - 1]),
        (pb.DT_BOOL, "bool_val", [True, False, True]),
        (pb.DT_STRING, "string_val", [b"a", b"", b"\xff"]),
    ],
)
@pytest.mark.parametrize("repeats", [1, 100], ids=["few", "many"])
def test_typed_fields_are_read(
    data_type: pb.DataType, field: str, values: list[Any], repeats: int
) -> None:
    read = to_array(tensor(data_type, 3 * repeats, **{field: values * repeats}))
    assert read.tolist() == values * repeats


def test_halves_are_stored_as_bits_and_complex_numbers_as_pairs() -> None:
    halves = np.array([0.5, -2.0], np.float16)
    stored = tensor(pb.DT_HALF, 2, half_val=halves.view(np.uint16).tolist())
    np.testing.assert_array_equal(to_array(stored), halves)
    complex64 = tensor(pb.DT_COMPLEX64, 2, scomplex_val=[1, 2, 3, 4])
    assert to_array(complex64).tolist() == [1 + 2j, 3 + 4j]
    assert to_array(tensor(pb.DT_COMPLEX128, 1, dcomplex_val=[1, 2])).tolist() == [1 + 2j]


def test_missing_values_repeat_the_last_one_or_are_zero() -> None:
    assert to_array(tensor(pb.DT_FLOAT, 2, 2, float_val=[1, 3])).tolist() == [[1, 3], [3, 3]]
    assert to_array(tensor(pb.DT_INT64, 2)).tolist() == [0, 0]
    assert to_array(tensor(pb.DT_STRING, 2)).tolist() == [b"", b""]
    assert to_array(tensor(pb.DT_STRING, 2, string_val=[b"ab"])).tolist() == [b"ab", b"ab"]


def test_strings_in_tensor_content_are_read() -> None:
    long = b"x" * 300
    content = bytes([1, 0, 0xAC, 0x02]) + b"a" + long
    assert to_array(tensor(pb.DT_STRING, 3, tensor_content=content)).tolist() == [b"a", b"", long]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(pb.DT_FLOAT, 2, tensor_content=b"1234567"), "has 7 bytes; expected 8"),
        (tensor(pb.DT_FLOAT, 1, float_val=[1, 2]), "has 2 values; expected at most 1"),
        (tensor(pb.DT_FLOAT, 9, float_val=[1] * 100), "has 100 values; expected at most 9"),
        (tensor(pb.DT_UINT8, 1, int_val=[256]), "a value in int_val does not fit uint8"),
        (tensor(pb.DT_UINT8, 99, int_val=[256] * 99), "does not fit uint8"),
        (tensor(pb.DT_INT8, 1, int_val=[-129]), "does not fit int8"),
        (tensor(pb.DT_HALF, 1, half_val=[-1]), "a value in half_val does not fit uint16"),
        (tensor(pb.DT_COMPLEX64, 1, scomplex_val=[1]), "has 1 numbers; expected pairs"),
        (tensor(pb.DT_STRING, 2, tensor_content=b"\x01"), "inside the length"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\xff" * 20), "inside the length"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\x05abc"), "has 4 bytes; expected 6"),
        (tensor(pb.DT_STRING, 0, tensor_content=b"xx"), "has 2 bytes; expected 0"),
        (tensor(pb.DT_FLOAT, -1), r"of shape \(None,\); expected a known shape"),
        (tensor(pb.DT_FLOAT, 2**40, 2**40, 0, -1), "expected a known shape"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape={"unknown_rank": True}), "shape None"),
        (tensor(pb.DT_BFLOAT16, 1), "DT_BFLOAT16 has no numpy equivalent"),
        (pb.TensorProto.FromString(b"\x08\x63"), "DataType 99 has no numpy equivalent"),
        (tensor(pb.DT_FLOAT, 2**40, float_val=[1]), "expected at most 2,147,483,648"),
        (tensor(pb.DT_FLOAT, 0, 2**62, 2**62), r"received shape \(0, 4611686018427387904, 4"),
        (tensor(pb.DT_FLOAT, *[1] * 70, float_val=[1]), "received 70 dimensions"),
        (tensor(pb.DT_FLOAT, *[2**62] * 1000), "received 1000 dimensions; expected at most 64"),
    ],
)
def test_an_inconsistent_tensor_is_an_error(bad: pb.TensorProto, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        to_array(bad)


def test_the_limit_can_be_lowered() -> None:
    with pytest.raises(TensorError, match="8 bytes; expected at most 7"):
        to_array(tensor(pb.DT_DOUBLE, 1), limit=7)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([None]), "received NoneType in an object array; expected bytes or str"),
        (np.array(["2026-11-01"], "M8[D]"), r"received an array of datetime64\[D\]"),
        (np.array([1], np.longdouble), "received an array of float128|longdouble"),
    ],
    ids=["object", "date", "longdouble"],
)
def test_an_array_without_a_tensor_dtype_is_an_error(bad: NDArray[Any], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        from_array(bad)


def test_a_bfloat16_array_is_an_error() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="defines bfloat16")
    with pytest.raises(TensorError, match="received an array of bfloat16"):
        from_array(np.zeros(1, ml_dtypes.bfloat16), typed=True)


def test_shape_of_distinguishes_unknown_dimensions_and_unknown_rank() -> None:
    dims = [pb.TensorShapeProto.Dim(size=size) for size in (-1, 28)]
    assert shape_of(pb.TensorShapeProto(dim=dims)) == (None, 28)
    assert shape_of(pb.TensorShapeProto()) == ()
    assert shape_of(pb.TensorShapeProto(unknown_rank=True)) is None


def test_dtypes_have_tensorflows_names() -> None:
    assert dtype_name(4) == "DT_UINT8"
    assert dtype_name(99) == "DataType 99"


@pytest.mark.parametrize("dtype", [*"?bhilqBHILQefdFDO"])
def test_tensorflow_reads_and_writes_the_same_tensors(dtype: str) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    from tensorflow.core.framework import tensor_pb2

    values: NDArray[Any] = np.arange(6).reshape(2, 3).astype(dtype)
    if dtype == "O":
        values = np.array([[b"a", b"\xff"], [b"", b"ccc"]], dtype=object)
    for typed in (False, True):
        written = from_array(values, typed=typed).SerializeToString()
        theirs = tensor_pb2.TensorProto.FromString(written)
        np.testing.assert_array_equal(tf.make_ndarray(theirs), values)
    ours = pb.TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    np.testing.assert_array_equal(to_array(ours), values)
