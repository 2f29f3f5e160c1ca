"""Method paths and type URLs, compared with those of tensorflow-serving-api."""

import pytest

from kmnist.protocol import methods

pytest.importorskip("tensorflow_serving.apis", reason="needs tensorflow-serving-api")

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_service_pb2,
    prediction_service_pb2,
)


def test_method_paths_are_those_of_upstream() -> None:
    upstream = {
        f"/{service.full_name}/{method.name}"
        for module in (prediction_service_pb2, model_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {methods.PREDICT, methods.GET_MODEL_METADATA, methods.GET_MODEL_STATUS} <= upstream


def test_the_type_url_of_signatures_is_that_of_upstream() -> None:
    message = get_model_metadata_pb2.GetModelMetadataResponse()
    message.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
    assert message.metadata["signature_def"].type_url == methods.SIGNATURES_TYPE_URL
