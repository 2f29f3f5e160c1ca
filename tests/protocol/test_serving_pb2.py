"""The messages, compared with those of tensorflow-serving-api, beside which they are imported."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from kmnist.protocol import serving_pb2 as pb

pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    prediction_log_pb2,
)

PAIRS: list[tuple[Any, Any]] = [
    (pb.PredictionLog, prediction_log_pb2.PredictionLog),
    (pb.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (pb.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (pb.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (pb.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (pb.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
]


def differences(ours: Any, theirs: Any) -> Iterator[str]:
    """Yield the fields of a message, and of messages inside it, that differ from upstream."""
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


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda m: str(m.DESCRIPTOR.full_name))
def test_fields_are_those_of_upstream(ours: Any, theirs: Any) -> None:
    assert list(differences(ours.DESCRIPTOR, theirs.DESCRIPTOR)) == []
