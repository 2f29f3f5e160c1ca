"""A client of TensorFlow Serving over gRPC and REST that does not import TensorFlow.

grpcio, urllib3 and aiohttp are imported by the first client whose address needs them, so that
``import kmnist.client`` costs little more than numpy. See :mod:`kmnist.errors` for the errors and
:mod:`kmnist.client.testing` for a fake server.
"""

from kmnist.client.async_client import AsyncClient
from kmnist.client.client import Client
from kmnist.client.predictions import Prediction, Predictions
from kmnist.client.tls import TLS
from kmnist.errors import (
    AccessDeniedError,
    BadAnswerError,
    ClientError,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    LabelNotFoundError,
    ModelNotFoundError,
    NotReachableError,
    NotReadyError,
    OverloadedError,
    RequestTooLargeError,
    ServerError,
    SignatureNotFoundError,
    VersionNotFoundError,
)
from kmnist.protocol.messages import Metadata, Signature, TensorSpec, VersionStatus

__all__ = [
    "TLS",
    "AccessDeniedError",
    "AsyncClient",
    "BadAnswerError",
    "Client",
    "ClientError",
    "ClosedError",
    "DeadlineExceededError",
    "InvalidInputError",
    "LabelNotFoundError",
    "Metadata",
    "ModelNotFoundError",
    "NotReachableError",
    "NotReadyError",
    "OverloadedError",
    "Prediction",
    "Predictions",
    "RequestTooLargeError",
    "ServerError",
    "Signature",
    "SignatureNotFoundError",
    "TensorSpec",
    "VersionNotFoundError",
    "VersionStatus",
]
