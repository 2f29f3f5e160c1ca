"""Requests over gRPC, of any shape and with any picture: an answer, or a refusal of the input."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import PREDICT
from kmnist.server import Server
from tests.fuzz.conftest import Ceiling
from tests.pictures.kinds import encode

Ask: TypeAlias = Callable[[pb.PredictRequest], "grpc.StatusCode"]

_INPUTS: Final = {
    "serving_default": "images",
    "pixels": "pixels",
    "pictures": "pictures",
    "explain": "pictures",
    "classes": "class_ids",
}
_PICTURE: Final = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
_FILES: Final = [encode(_PICTURE, form) for form in ("PNG", "JPEG", "BMP", "WEBP")]


@pytest.fixture(scope="module")
def ask(served: Server) -> Iterator[Ask]:
    """Send a request; return the code of the answer."""
    with grpc.insecure_channel(served.grpc_url.removeprefix("grpc://")) as channel:
        stub = channel.unary_unary(PREDICT, pb.PredictRequest.SerializeToString, None)

        def send(request: pb.PredictRequest) -> grpc.StatusCode:
            request.model_spec.name = "kmnist"
            try:
                stub(request, timeout=30)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            return grpc.StatusCode.OK

        yield send


_sizes = st.sampled_from([-1, 0, 1, 2, 28, 784, 10_000, 10**6, 2**31, 2**62])
_shapes = st.lists(_sizes, max_size=3) | st.builds(lambda rank: [1] * rank, st.integers(4, 300))
_tensors: Any = st.builds(
    lambda dtype, shape, **values: pb.TensorProto(
        dtype=dtype,
        tensor_shape=pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=n) for n in shape]),
        **values,
    ),
    st.sampled_from([pb.DT_UINT8, pb.DT_INT64, pb.DT_STRING, pb.DT_FLOAT, pb.DT_BFLOAT16, 0, 99]),
    _shapes,
    int_val=st.lists(st.integers(-300, 300), max_size=2),
    int64_val=st.lists(st.integers(-1, 11), max_size=12),
    string_val=st.lists(st.binary(max_size=40) | st.just(bytes(784)), max_size=3),
    tensor_content=st.binary(max_size=8) | st.just(bytes(784)),
)


@given(signature=st.sampled_from(sorted(_INPUTS)), tensor=_tensors)
def test_any_tensor_is_answered_or_refused(
    ceiling: Ceiling, ask: Ask, signature: str, tensor: pb.TensorProto
) -> None:
    request = pb.PredictRequest(inputs={_INPUTS[signature]: tensor})
    request.model_spec.signature_name = signature
    with ceiling():
        assert ask(request) in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)


@given(
    file=st.sampled_from(_FILES),
    changes=st.dictionaries(st.integers(0, 120), st.integers(0, 255), max_size=6),
    length=st.integers(0, 4000),
)
def test_any_picture_is_answered_or_refused(
    ceiling: Ceiling, ask: Ask, file: bytes, changes: dict[int, int], length: int
) -> None:
    content = bytearray(file)
    for place, value in changes.items():
        content[place % len(content)] = value
    tensor = pb.TensorProto(dtype=pb.DT_STRING, string_val=[bytes(content[:length])])
    tensor.tensor_shape.dim.add(size=1)
    request = pb.PredictRequest(inputs={"pictures": tensor})
    request.model_spec.signature_name = "explain"
    with ceiling():
        assert ask(request) in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
