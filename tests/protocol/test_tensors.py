"""Conversion between numpy arrays and TensorProto messages."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import TensorError, from_array, to_array

DTYPES = [np.dtype(code) for code in "?bhilBHILefdFDO"]


def array(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values of a dtype, the largest and the smallest one among them."""
    if dtype.kind == "O":
        return np.array([[b"a", b"\xff"], [b"", b"c" * 300]], dtype=object)
    values: NDArray[Any] = np.arange(6).reshape(2, 3).astype(dtype)
    if dtype.kind in "iu":
        values[1, 1:] = np.iinfo(dtype).min, np.iinfo(dtype).max
    return values * dtype.type(-2 + 0.5j) if dtype.kind == "c" else values


def tensor(data_type: pb.DataType, *shape: int, **values: Any) -> pb.TensorProto:
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    return pb.TensorProto(dtype=data_type, tensor_shape=pb.TensorShapeProto(dim=dims), **values)


@pytest.mark.parametrize("typed", [False, True], ids=["content", "typed"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "part",
    [np.s_[:], np.s_[:0], np.s_[0, 0, ...], np.s_[::-1, 1:], np.s_[None, :1]],
    ids=["all", "empty", "scalar", "strided", "one row"],
)
def test_arrays_are_read_as_written(dtype: np.dtype[Any], part: Any, typed: bool) -> None:
    values = np.asarray(array(dtype)[part])
    for written in (values, values.astype(dtype.newbyteorder(">"))):
        message = from_array(written, typed=typed).SerializeToString()
        read = to_array(pb.TensorProto.FromString(message))
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, values, strict=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensorflow_reads_and_writes_the_same_tensors(dtype: np.dtype[Any]) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    from tensorflow.core.framework import tensor_pb2

    values = array(dtype)
    for typed in (False, True):
        written = from_array(values, typed=typed)
        assert bool(written.tensor_content) == (dtype.kind != "O" and not typed)
        theirs = tensor_pb2.TensorProto.FromString(written.SerializeToString())
        np.testing.assert_array_equal(tf.make_ndarray(theirs), values)
    ours = pb.TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    np.testing.assert_array_equal(to_array(ours), values)


def test_bfloat16_is_rounded_as_tensorflow_does_and_read_as_float32() -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    values = np.array(
        [0, -0.0, 1, 1 / 3, 1.00390625, 1.01171875, -3e38, 1e-40, np.inf, np.nan], "f4"
    )
    theirs = tf.cast(values, tf.bfloat16).numpy()
    for written in (from_array(values, bfloat16=True), from_array(theirs, typed=True)):
        assert written.dtype == pb.DT_BFLOAT16
        np.testing.assert_array_equal(to_array(written), theirs.astype("f4"), strict=True)


def test_text_is_written_as_utf8() -> None:
    for values in (["seven", "ö"], np.array(["seven", "ö"], dtype=object)):
        assert to_array(from_array(values)).tolist() == [b"seven", "ö".encode()]


def test_tensor_content_is_read_without_a_copy() -> None:
    assert not to_array(from_array(np.zeros(3, np.float32))).flags.owndata


def test_missing_values_repeat_the_last_one_or_are_zero() -> None:
    assert to_array(tensor(pb.DT_FLOAT, 2, 2, float_val=[1, 3])).tolist() == [[1, 3], [3, 3]]
    assert to_array(tensor(pb.DT_INT64, 2)).tolist() == [0, 0]
    assert to_array(tensor(pb.DT_STRING, 2)).tolist() == [b"", b""]
    assert to_array(tensor(pb.DT_STRING, 2, string_val=[b"ab"])).tolist() == [b"ab", b"ab"]


def test_strings_in_tensor_content_are_read() -> None:
    content = bytes([1, 0, 0xAC, 0x02]) + b"a" + b"x" * 300
    read = to_array(tensor(pb.DT_STRING, 3, tensor_content=content))
    assert read.tolist() == [b"a", b"", b"x" * 300]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(pb.DT_FLOAT, 2, tensor_content=b"1234567"), "fit shape .2,. of float32"),
        (tensor(pb.DT_FLOAT, 2, tensor_content=b"1234"), "fit shape .2,. of float32"),
        (tensor(pb.DT_FLOAT, 1, float_val=[1, 2]), "fit shape .1,. of float32"),
        (tensor(pb.DT_UINT8, 99, int_val=[256] * 99), "256 out of bounds for uint8"),
        (tensor(pb.DT_INT8, 1, int_val=[-129]), "-129 out of bounds for int8"),
        (tensor(pb.DT_HALF, 1, half_val=[-1]), "-1 out of bounds for uint16"),
        (tensor(pb.DT_COMPLEX64, 1, scomplex_val=[1]), "of complex64"),
        (tensor(pb.DT_STRING, 2, tensor_content=b"\x01"), "1 bytes instead of 2"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\xff" * 20), "20 bytes instead of"),
        (tensor(pb.DT_STRING, 1, tensor_content=b"\x05abc"), "4 bytes instead of 6"),
        (tensor(pb.DT_STRING, 0, tensor_content=b"xx"), "2 bytes instead of 0"),
        (tensor(pb.DT_FLOAT, 2**40, 0, -1), "the shape .* is not fully known"),
        (pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape={"unknown_rank": True}), "None is not"),
        (tensor(pb.DT_QINT8, 1), "DT_QINT8 has no numpy equivalent"),
        (pb.TensorProto.FromString(b"\x08\x63"), "DataType 99 has no numpy equivalent"),
        (tensor(pb.DT_FLOAT, 2**40, float_val=[1]), "the limit of 2,147,483,648 bytes"),
        (tensor(pb.DT_FLOAT, 0, 2**62, 2**62), "fit shape .0, 4611686018427387904, 4"),
        (tensor(pb.DT_FLOAT, *[2**62] * 1000), "32 dimensions, not 1000"),
        (tensor(pb.DT_STRING, *[1] * 33, string_val=[b""]), "32 dimensions, not 33"),
        (tensor(pb.DT_UINT8, 2**20 + 2, int_val=[7]), r"not filled with 1 of 1,048,578 values"),
        (tensor(pb.DT_STRING, 2**15 + 1), "not filled with 0 of 32,769 values"),
    ],
)
def test_an_inconsistent_tensor_is_an_error(bad: pb.TensorProto, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        to_array(bad)


def test_the_limit_can_be_lowered() -> None:
    with pytest.raises(TensorError, match="more than the limit of 7 bytes"):
        to_array(tensor(pb.DT_DOUBLE, 1), limit=7)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([None]), "must consist of bytes or str"),
        (np.array(["2026-11-01"], "M8[D]"), r"no arrays of datetime64\[D\]"),
        (np.array([1], np.longdouble), "no arrays of float128|longdouble"),
    ],
    ids=["object", "date", "longdouble"],
)
def test_an_array_without_a_tensor_dtype_is_an_error(bad: NDArray[Any], message: str) -> None:
    with pytest.raises(TensorError, match=message):
        from_array(bad)
