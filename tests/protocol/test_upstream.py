"""The wire beside tensorflow-serving-api: the same bytes, and both in one process."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from kmnist.protocol import methods
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import from_array, to_array

serving = pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")

from google.protobuf.descriptor import FieldDescriptor  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2,
    prediction_log_pb2,
    prediction_service_pb2,
)

PAIRS = [
    (pb.PredictionLog, prediction_log_pb2.PredictionLog),
    (pb.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (pb.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (pb.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (pb.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (pb.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
]


def differences(ours, theirs):
    """Every field of ours that means something else upstream, messages inside messages included."""
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        if other is None or (field.name, field.type, field.is_repeated, field.is_packed) != (
            other.name,
            other.type,
            other.is_repeated,
            other.is_packed,
        ):
            yield f"{ours.full_name}.{field.name}"
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from differences(field.message_type, other.message_type)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            theirs_by_number = {value.number: value.name for value in other.enum_type.values}
            for value in field.enum_type.values:
                if theirs_by_number.get(value.number) != value.name:
                    yield f"{field.enum_type.full_name}.{value.name}"


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda m: m.DESCRIPTOR.full_name)
def test_fields_are_those_of_upstream(ours, theirs) -> None:
    assert list(differences(ours.DESCRIPTOR, theirs.DESCRIPTOR)) == []


def test_method_paths_are_those_of_upstream() -> None:
    upstream = {
        f"/{service.full_name}/{method.name}"
        for module in (prediction_service_pb2, model_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {methods.PREDICT, methods.GET_MODEL_METADATA, methods.GET_MODEL_STATUS} <= upstream


def test_type_url_of_the_signatures() -> None:
    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
    assert message.metadata["signature_def"].type_url == methods.SIGNATURES_TYPE_URL


@pytest.mark.parametrize("dtype", [*"?bhilqBHILQefdFDO"])
def test_tensorflow_reads_and_writes_the_same_tensors(dtype) -> None:
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    values = np.arange(6).reshape(2, 3).astype(dtype)
    if dtype == "O":
        values = np.array([[b"a", b"\xff"], [b"", b"ccc"]], dtype=object)
    theirs = tensor_pb2.TensorProto.FromString(from_array(values).SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), values)
    ours = pb.TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    np.testing.assert_array_equal(to_array(ours), values)


@pytest.mark.parametrize(
    "order",
    list(
        itertools.permutations(
            ["kmnist.protocol.serving_pb2", "tensorflow", "tensorflow_serving.apis.predict_pb2"]
        )
    ),
    ids=" ".join,
)
def test_lives_beside_tensorflow_and_tensorflow_serving_api(order) -> None:
    code = "import " + ", ".join(order) + "; print('together')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "together\n", done.stderr
