"""A client of TensorFlow Serving over gRPC and REST that imports no TensorFlow.

grpcio, urllib3 and aiohttp are imported when a client's address asks for them, so that
``import kmnist.client`` costs little more than numpy. Errors: :mod:`kmnist.errors`; a
server in memory for tests: :mod:`kmnist.client.testing`.
"""

from kmnist.client.address import TLS
from kmnist.client.asynchronous import AsyncClient
from kmnist.client.client import Client
from kmnist.client.predictions import Prediction, Predictions
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
from kmnist.protocol.metadata import Metadata, Signature, TensorSpec, VersionStatus

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
