"""The part of gRPC that the blocking and the asyncio transport share: channels and messages."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from kmnist.client.address import Address, Host
from kmnist.client.failures import answer_too_large, failure
from kmnist.client.predictions import OUTPUTS
from kmnist.errors import BadAnswerError, ClientError, ClosedError
from kmnist.protocol import prediction
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import Metadata, ModelSpec, Outputs, VersionStatus, read_signatures
from kmnist.protocol.tensors import TensorError

__all__ = [
    "call_failed",
    "channel_options",
    "credentials",
    "metadata",
    "metadata_request",
    "outputs",
    "status_request",
    "statuses",
    "target",
]

_SIGNATURES: Final = "signature_def"
# The channel's own limit. That of the server has the same code, without "CLIENT".
_OWN_LIMIT: Final = re.compile(r"(CLIENT: Received|Decompressed) message larger than max")

M = TypeVar("M", bound=Message)


def target(host: Host) -> str:
    """Return a host as a gRPC target; all addresses of a DNS name are used."""
    return f"dns:///{host}"


def channel_options(address: Address, max_answer_bytes: int) -> list[tuple[str, Any]]:
    """Return the options of a channel: load balancing, fast reconnects, the limit of answers."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", max_answer_bytes),
        # Identity only: a compressed answer would be inflated before its size is checked.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # The default of two minutes would outlast the default retries after a restart.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 250),
        # As over REST, the environment's proxy settings are ignored.
        ("grpc.enable_http_proxy", 0),
    ]
    if address.tls is not None and address.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", address.tls.server_name))
    return options


def credentials(address: Address) -> grpc.ChannelCredentials | None:
    """Return the TLS credentials of an address; None for ``grpc://``.

    Raises:
        InvalidInputError: A file cannot be read.
    """
    if address.tls is None:
        return None
    ca, key, certificate = address.tls.read()
    return grpc.ssl_channel_credentials(ca, key, certificate)


def metadata_request(spec: ModelSpec) -> bytes:
    """Return a serialized GetModelMetadataRequest."""
    return pb.GetModelMetadataRequest(
        model_spec=prediction.model_spec(spec), metadata_field=[_SIGNATURES]
    ).SerializeToString()


def status_request(spec: ModelSpec) -> bytes:
    """Return a serialized GetModelStatusRequest."""
    return pb.GetModelStatusRequest(model_spec=prediction.model_spec(spec)).SerializeToString()


def outputs(response: bytes, max_bytes: int) -> Outputs:
    """Read a PredictResponse with arrays of up to ``max_bytes``.

    Raises:
        BadAnswerError: It, or one of its outputs, cannot be read.
    """
    try:
        return prediction.read_outputs(response, OUTPUTS, limit=max_bytes)
    except (DecodeError, TensorError) as error:
        raise BadAnswerError(f"cannot read the server's answer: {error}") from None


def metadata(response: bytes) -> Metadata:
    """Read a GetModelMetadataResponse.

    Raises:
        BadAnswerError: It, or its signatures, cannot be read.
    """
    parsed = _parse(pb.GetModelMetadataResponse, response)
    if _SIGNATURES not in parsed.metadata:
        raise BadAnswerError(f"the server's metadata lacks the signatures ({_SIGNATURES})")
    found = _parse(pb.SignatureDefMap, parsed.metadata[_SIGNATURES].value)
    return Metadata(parsed.model_spec.version.value, read_signatures(found.signature_def))


def statuses(response: bytes) -> Sequence[VersionStatus]:
    """Read a GetModelStatusResponse.

    Raises:
        BadAnswerError: It cannot be read.
    """
    return [
        VersionStatus(
            each.version,
            _name(pb.ModelVersionStatus.State, each.state),
            _name(pb.StatusProto.Code, each.status.error_code),
            each.status.error_message,
        )
        for each in _parse(pb.GetModelStatusResponse, response).model_version_status
    ]


def call_failed(
    error: grpc.RpcError, host: Host, max_answer_bytes: int, *, closed: bool
) -> ClientError:
    """Return the error for a failed call.

    Args:
        error: The exception of grpcio.
        host: The server.
        max_answer_bytes: The limit of answers.
        closed: Whether the client was closed meanwhile.
    """
    code = error.code()
    if code is grpc.StatusCode.CANCELLED and closed:
        return ClosedError("the client was closed while it waited for an answer")
    details = error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _OWN_LIMIT.search(details):
        return answer_too_large(max_answer_bytes, details)
    return failure(code.name, details, host)


def _parse(message: type[M], data: bytes) -> M:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise BadAnswerError(f"cannot read the server's answer: {error}") from None


def _name(enum: Any, number: int) -> str:
    return str(enum.Name(number)) if number in enum.values() else "UNKNOWN"
