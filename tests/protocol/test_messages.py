"""Signatures and states that a server reports, method paths and type URLs of TensorFlow Serving."""

import pytest

from kmnist.protocol import messages
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import (
    INIT_SIGNATURE,
    Signature,
    TensorSpec,
    read_signatures,
)


@pytest.mark.parametrize(
    ("dtype", "shape", "text"),
    [
        ("DT_UINT8", (None, 28, 28), "uint8 (n, 28, 28)"),
        ("DT_STRING", (None,), "string (n,)"),
        ("DT_FLOAT", (), "float32 ()"),
        ("DT_FLOAT", None, "float32 of any shape"),
    ],
)
def test_a_tensor_spec_prints_as_dtype_and_shape(
    dtype: str, shape: tuple[int | None, ...] | None, text: str
) -> None:
    assert str(TensorSpec(dtype, shape)) == text


def test_signatures_are_read_without_the_internal_one() -> None:
    found = pb.SignatureDefMap()
    found.signature_def[INIT_SIGNATURE].method_name = ""
    default = found.signature_def["serving_default"]
    images = default.inputs["images"]
    images.dtype = pb.DT_UINT8
    for size in (-1, 28, 28):
        images.tensor_shape.dim.add(size=size)
    default.outputs["any"].tensor_shape.unknown_rank = True
    default.outputs["any"].dtype = pb.DT_FLOAT
    assert read_signatures(found.signature_def) == {
        "serving_default": Signature(
            {"images": TensorSpec("DT_UINT8", (None, 28, 28))},
            {"any": TensorSpec("DT_FLOAT", None)},
        )
    }


def test_method_paths_are_those_of_upstream() -> None:
    pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    upstream = {
        f"/{service.full_name}/{method.name}"
        for module in (prediction_service_pb2, model_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {messages.PREDICT, messages.GET_MODEL_METADATA, messages.GET_MODEL_STATUS} <= upstream


def test_the_type_url_of_signatures_is_that_of_upstream() -> None:
    pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")
    from tensorflow_serving.apis import get_model_metadata_pb2

    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
    assert message.metadata["signature_def"].type_url == messages.SIGNATURES_TYPE_URL
