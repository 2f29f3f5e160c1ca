"""What both gRPC transports share: messages, channels, and what a failed call means."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from kmnist.client.address import Address, Host
from kmnist.client.failures import failure
from kmnist.client.predictions import NAMES
from kmnist.errors import BadAnswerError, ClientError, ClosedError
from kmnist.protocol import prediction, tensors
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.metadata import Metadata, Signature, TensorSpec, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = [
    "call_failed",
    "channel_options",
    "credentials",
    "metadata",
    "metadata_request",
    "outputs",
    "statuses",
    "target",
]

_SIGNATURES: Final = "signature_def"
_INTERNAL_SIGNATURE: Final = "__saved_model_init_op"


def target(host: Host) -> str:
    """The name as gRPC takes it; a DNS name may stand for many servers."""
    return f"dns:///{host}"


def channel_options(address: Address) -> list[tuple[str, Any]]:
    """Options of a channel: balanced, quick to come back, and without gRPC's limit of 4 MB."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A restarted server is found again within the default retries, not after two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 250),
        # As over REST: only the address decides where a request goes.
        ("grpc.enable_http_proxy", 0),
    ]
    if address.tls is not None and address.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", address.tls.server_name))
    return options


def credentials(address: Address) -> grpc.ChannelCredentials | None:
    """The TLS credentials of an address; None where it is not encrypted."""
    if address.tls is None:
        return None
    ca, key, certificate = address.tls.read()
    return grpc.ssl_channel_credentials(ca, key, certificate)


def outputs(answer: bytes) -> Outputs:
    """The tensors of an answer.

    Raises:
        BadAnswerError: It, or one of them, cannot be read.
    """
    try:
        return prediction.answer(answer, NAMES)
    except (tensors.TensorError, DecodeError) as error:
        raise BadAnswerError(f"the server's answer cannot be read: {error}") from None


def metadata_request(spec: ModelSpec) -> pb.GetModelMetadataRequest:
    return pb.GetModelMetadataRequest(
        model_spec=prediction.model_spec(spec), metadata_field=[_SIGNATURES]
    )


def status_request(spec: ModelSpec) -> pb.GetModelStatusRequest:
    return pb.GetModelStatusRequest(model_spec=prediction.model_spec(spec))


def metadata(response: pb.GetModelMetadataResponse) -> Metadata:
    """The signatures of an answer.

    Raises:
        BadAnswerError: They are missing or cannot be read.
    """
    if _SIGNATURES not in response.metadata:
        raise BadAnswerError("the server's metadata has no signatures (signature_def)")
    try:
        found = pb.SignatureDefMap.FromString(response.metadata[_SIGNATURES].value)
    except DecodeError as error:
        raise BadAnswerError(f"the server's metadata cannot be read: {error}") from None
    signatures = {
        name: Signature(_specs(signature.inputs), _specs(signature.outputs))
        for name, signature in found.signature_def.items()
        if name != _INTERNAL_SIGNATURE
    }
    return Metadata(response.model_spec.version.value, signatures)


def statuses(response: pb.GetModelStatusResponse) -> Sequence[VersionStatus]:
    return [
        VersionStatus(
            each.version,
            _name(pb.ModelVersionStatus.State, each.state),
            _name(pb.StatusProto.Code, each.status.error_code),
            each.status.error_message,
        )
        for each in response.model_version_status
    ]


def call_failed(error: grpc.RpcError, host: Host, *, closed: bool) -> ClientError:
    """What a failed call means; ``closed`` tells whether the client itself was closed."""
    code = error.code()
    text = error.details() or ""
    if code is grpc.StatusCode.CANCELLED and closed:
        return ClosedError("the client was closed while it waited for an answer")
    if code is grpc.StatusCode.INTERNAL and "deserializing response" in text:
        return BadAnswerError(f"the server's answer cannot be read: {text}", detail=text)
    return failure(code.name, text, host)


def _specs(infos: Mapping[str, pb.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(tensors.dtype_name(info.dtype), tensors.shape_of(info.tensor_shape))
        for name, info in infos.items()
    }


def _name(enum: Any, number: int) -> str:
    return str(enum.Name(number)) if number in enum.values() else "UNKNOWN"
