import numpy as np
import pytest

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import TensorError, from_array, numpy_dtype, shape_of, to_array

NUMERIC = [np.dtype(code) for code in "?bhilBHILefdFD"]


def tensor(data_type, *shape, **values):
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    return pb.TensorProto(dtype=data_type, tensor_shape=pb.TensorShapeProto(dim=dims), **values)


@pytest.mark.parametrize("dtype", NUMERIC, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)], ids=str)
def test_numbers_come_back_as_they_went(dtype, shape) -> None:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    back = to_array(from_array(values))
    assert back.dtype == dtype
    assert back.shape == shape
    np.testing.assert_array_equal(back, values)


def test_big_endian_and_strided_arrays_are_sent_by_value() -> None:
    values = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(to_array(from_array(values)), values)


def test_strings_come_back_as_bytes() -> None:
    sent = np.array([["seven", b"\xff\x00"], ["", "ö"]], dtype=object)
    back = to_array(from_array(sent))
    assert back.tolist() == [[b"seven", b"\xff\x00"], [b"", "ö".encode()]]


def test_a_content_tensor_is_read_without_a_copy() -> None:
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
def test_typed_fields(data_type, field, values) -> None:
    array = to_array(tensor(data_type, 3, **{field: values}))
    assert array.dtype == numpy_dtype(data_type)
    assert array.tolist() == values


def test_halves_come_as_bits_and_complex_numbers_as_pairs() -> None:
    halves = np.array([0.5, -2.0], np.float16)
    sent = tensor(pb.DT_HALF, 2, half_val=halves.view(np.uint16).tolist())
    np.testing.assert_array_equal(to_array(sent), halves)
    assert to_array(tensor(pb.DT_COMPLEX64, 2, scomplex_val=[1, 2, 3, 4])).tolist() == [
        1 + 2j,
        3 + 4j,
    ]
    assert to_array(tensor(pb.DT_COMPLEX128, 1, dcomplex_val=[1, 2])).tolist() == [1 + 2j]


def test_missing_values_repeat_the_last_one_or_are_zero() -> None:
    assert to_array(tensor(pb.DT_FLOAT, 2, 2, float_val=[1, 3])).tolist() == [[1, 3], [3, 3]]
    assert to_array(tensor(pb.DT_INT64, 2)).tolist() == [0, 0]
    assert to_array(tensor(pb.DT_STRING, 2)).tolist() == [b"", b""]


def test_strings_in_tensor_content() -> None:
    long = b"x" * 300
    content = bytes([1, 0, 0xAC, 0x02]) + b"a" + long
    assert to_array(tensor(pb.DT_STRING, 3, tensor_content=content)).tolist() == [b"a", b"", long]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(pb.DT_FLOAT, 2, tensor_content=b"1234567"), "has 7 bytes, expected 8"),
        (tensor(pb.DT_FLOAT, 1, float_val=[1, 2]), "has 2 values, expected at most 1"),
        (tensor(pb.DT_UINT8, 1, int_val=[256]), "does not fit uint8"),
        (tensor(pb.DT_HALF, 1, half_val=[-1]), "does not fit uint16"),
        (tensor(pb.DT_COMPLEX64, 1, scomplex_val=[1]), "pairs, received 1"),
        (tensor(pb.DT_STRING, 2, tensor_content=b"\x01"), "inside the length"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\xff" * 20), "inside the length"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\x05abc"), "has 4 bytes, expected 6"),
        (tensor(pb.DT_FLOAT, -1), "must be fully known"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape={"unknown_rank": True}), "fully known"),
        (tensor(pb.DT_BFLOAT16, 1), "DT_BFLOAT16 has no numpy equivalent"),
        (pb.TensorProto.FromString(b"\x08\x63"), "DataType 99 has no numpy equivalent"),
        (tensor(pb.DT_FLOAT, 2**40, float_val=[1]), "larger than the limit of 2,147,483,648"),
        (tensor(pb.DT_FLOAT, 2**40, 2**40, 0, -1), "fully known"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(bad, message) -> None:
    with pytest.raises(TensorError, match=message):
        to_array(bad)


def test_the_limit_can_be_lowered() -> None:
    with pytest.raises(TensorError, match="limit of 7 bytes"):
        to_array(tensor(pb.DT_DOUBLE, 1), limit=7)


@pytest.mark.parametrize("bad", [np.array([None]), np.array(["2026-11-01"], "M8[D]")], ids=str)
def test_arrays_without_a_tensor_are_refused(bad) -> None:
    with pytest.raises(TensorError):
        from_array(bad)


def test_shape_of_tells_unknown_dimensions_and_unknown_rank_apart() -> None:
    dims = [pb.TensorShapeProto.Dim(size=size) for size in (-1, 28)]
    assert shape_of(pb.TensorShapeProto(dim=dims)) == (None, 28)
    assert shape_of(pb.TensorShapeProto()) == ()
    assert shape_of(pb.TensorShapeProto(unknown_rank=True)) is None
