"""Channels and messages of both gRPC transports."""

from functools import partial

import grpc
import numpy as np
import pytest

from kmnist.client import (
    TLS,
    BadAnswerError,
    ClosedError,
    OverloadedError,
    RequestTooLargeError,
    VersionStatus,
)
from kmnist.client.address import Address, Host
from kmnist.client.transports import grpc_messages as messages
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import ModelSpec
from kmnist.protocol.tensors import from_array
from tests.client.standin import Model

HOST = Host("::1", 8500)
read_outputs = partial(messages.outputs, max_bytes=1 << 20)


class CallError(grpc.RpcError):
    """A failed call as grpcio raises it."""

    def __init__(self, code: grpc.StatusCode, text: str | None) -> None:
        super().__init__()
        self._code, self._text = code, text

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._text


def test_the_target_is_resolved_by_dns() -> None:
    assert messages.target(HOST) == "dns:///[::1]:8500"


def test_the_channel_spreads_requests_and_limits_answers() -> None:
    options = dict(messages.channel_options(Address.parse("grpc://a"), 99))
    assert "round_robin" in options["grpc.service_config"]
    assert options["grpc.max_receive_message_length"] == 99
    assert "grpc.ssl_target_name_override" not in options


def test_the_name_in_the_certificate_can_be_set() -> None:
    address = Address.parse("grpcs://a", TLS(server_name="b"))
    options = dict(messages.channel_options(address, 99))
    assert options["grpc.ssl_target_name_override"] == "b"


def test_credentials_are_those_of_an_encrypted_address() -> None:
    assert messages.credentials(Address.parse("grpc://a")) is None
    credentials = messages.credentials(Address.parse("grpcs://a"))
    assert isinstance(credentials, grpc.ChannelCredentials)


def test_requests_name_the_model() -> None:
    spec = ModelSpec("m", version=3)
    metadata = pb.GetModelMetadataRequest.FromString(messages.metadata_request(spec))
    assert (metadata.model_spec.name, list(metadata.metadata_field)) == ("m", ["signature_def"])
    status = pb.GetModelStatusRequest.FromString(messages.status_request(spec))
    assert (status.model_spec.name, status.model_spec.version.value) == ("m", 3)


def test_metadata_is_read() -> None:
    response = pb.GetModelMetadataResponse()
    response.model_spec.version.value = 3
    response.metadata["signature_def"].value = Model().definitions().SerializeToString()
    metadata = messages.metadata(response.SerializeToString())
    assert metadata.version == 3
    assert sorted(metadata.signatures) == ["pictures", "pixels", "serving_default"]


def test_metadata_without_signatures_is_an_error() -> None:
    with pytest.raises(BadAnswerError, match="lacks the signatures"):
        messages.metadata(pb.GetModelMetadataResponse().SerializeToString())


def test_statuses_are_read_with_unknown_states() -> None:
    response = pb.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=pb.ModelVersionStatus.AVAILABLE)
    failed = response.model_version_status.add(version=2, state=pb.ModelVersionStatus.END)
    failed.status.error_code = pb.StatusProto.INTERNAL
    failed.status.error_message = "broken"
    unknown = b"\x0a\x04\x08\x03\x10\x63"  # version 3, state 99
    assert messages.statuses(response.SerializeToString() + unknown) == [
        VersionStatus(1, "AVAILABLE", "OK", ""),
        VersionStatus(2, "END", "INTERNAL", "broken"),
        VersionStatus(3, "UNKNOWN", "OK", ""),
    ]


@pytest.mark.parametrize("read", [read_outputs, messages.metadata, messages.statuses])
def test_an_unreadable_answer_is_an_error(read: object) -> None:
    assert callable(read)
    with pytest.raises(BadAnswerError, match="cannot read the server's answer"):
        read(b"<html>")


def test_unreadable_signatures_are_an_error() -> None:
    response = pb.GetModelMetadataResponse()
    response.metadata["signature_def"].value = b"<html>"
    with pytest.raises(BadAnswerError, match="cannot read the server's answer"):
        messages.metadata(response.SerializeToString())


def test_an_unreadable_output_is_an_error() -> None:
    response = pb.PredictResponse()
    from_array(np.zeros(3, np.float32), response.outputs["probabilities"])
    response.outputs["probabilities"].tensor_content = b"123"
    with pytest.raises(BadAnswerError, match="do not fit shape"):
        read_outputs(response.SerializeToString())


def test_an_output_may_not_claim_more_than_the_limit() -> None:
    response = pb.PredictResponse()
    dims = [pb.TensorShapeProto.Dim(size=1 << 20)]
    shape = pb.TensorShapeProto(dim=dims)
    response.outputs["probabilities"].CopyFrom(
        pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=shape, float_val=[0.1])
    )
    with pytest.raises(BadAnswerError, match="more than the limit of 1,048,576 bytes"):
        read_outputs(response.SerializeToString())


def test_a_cancelled_call_of_a_closed_client_is_a_closed_error() -> None:
    cancelled = CallError(grpc.StatusCode.CANCELLED, None)
    assert type(messages.call_failed(cancelled, HOST, 99, closed=True)) is ClosedError
    assert type(messages.call_failed(cancelled, HOST, 99, closed=False)) is not ClosedError


def test_a_failed_call_is_the_error_of_its_code() -> None:
    failed = CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue full")
    assert type(messages.call_failed(failed, HOST, 99, closed=True)) is OverloadedError


def test_only_the_clients_own_limit_is_that_of_an_answer() -> None:
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    for text in (
        "CLIENT: Received message larger than max (200 vs. 99)",
        "Stream removed (CLIENT: Received message larger than max (200 vs. 99))",
        "Decompressed message larger than max",
    ):
        found = messages.call_failed(CallError(exhausted, text), HOST, 99, closed=False)
        assert type(found) is BadAnswerError
        assert "more than 99 bytes; raise max_answer_bytes=" in str(found)
    for start in ("SERVER: ", ""):
        other = CallError(exhausted, f"{start}Received message larger than max (200 vs. 99)")
        found = messages.call_failed(other, HOST, 99, closed=False)
        assert type(found) is RequestTooLargeError
