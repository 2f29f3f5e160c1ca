"""A client of TensorFlow Serving over gRPC and REST that does not import TensorFlow.

grpcio, urllib3 and aiohttp are imported by the first client whose address needs them, so that
``import kmnist.client`` costs little more than numpy. See :mod:`kmnist.errors` for the errors and
:mod:`kmnist.client.testing` for a fake server.
"""

from kmnist.client.address import TLS as TLS
from kmnist.client.answers import Prediction as Prediction
from kmnist.client.answers import Predictions as Predictions
from kmnist.client.async_client import AsyncClient as AsyncClient
from kmnist.client.client import Client as Client
from kmnist.errors import AccessDeniedError as AccessDeniedError
from kmnist.errors import BadAnswerError as BadAnswerError
from kmnist.errors import ClientError as ClientError
from kmnist.errors import ClosedError as ClosedError
from kmnist.errors import DeadlineExceededError as DeadlineExceededError
from kmnist.errors import InvalidInputError as InvalidInputError
from kmnist.errors import LabelNotFoundError as LabelNotFoundError
from kmnist.errors import ModelNotFoundError as ModelNotFoundError
from kmnist.errors import NotReachableError as NotReachableError
from kmnist.errors import NotReadyError as NotReadyError
from kmnist.errors import OverloadedError as OverloadedError
from kmnist.errors import RequestTooLargeError as RequestTooLargeError
from kmnist.errors import ServerError as ServerError
from kmnist.errors import SignatureNotFoundError as SignatureNotFoundError
from kmnist.errors import VersionNotFoundError as VersionNotFoundError
from kmnist.protocol.messages import Metadata as Metadata
from kmnist.protocol.messages import Signature as Signature
from kmnist.protocol.messages import TensorSpec as TensorSpec
from kmnist.protocol.messages import VersionStatus as VersionStatus
