"""The blocking client."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar, cast

from numpy.typing import ArrayLike, NDArray

from kmnist.client.address import Address
from kmnist.client.answers import Predictions
from kmnist.client.calls import BaseClient, Flow, Send, Transport
from kmnist.client.inputs import InputsLike, PicturesLike
from kmnist.errors import ClientError
from kmnist.protocol.messages import Metadata, VersionStatus

__all__ = ["Client"]

T = TypeVar("T")


class Client(BaseClient):
    """A client of TensorFlow Serving over gRPC or REST.

    It keeps its connections, may be shared by any number of threads, and reconnects to a
    restarted server. The same failure raises the same error over gRPC and REST, see
    :mod:`kmnist.errors`.

    ::

        >>> with Client("grpc://localhost:8500") as client:
        ...     predictions = client.predict(images)
        >>> predictions.class_names
        array(['7'], dtype='<U1')

    Arguments: see ``__init__``.
    """

    def call(
        self,
        inputs: InputsLike,
        *,
        signature: str = "serving_default",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Call a signature of any model.

        The inputs are checked against the signature before they are sent, in one request.

        ::

            >>> client.call({"images": images}, outputs=["class_ids", "class_names"])
            {'class_ids': array([7]), 'class_names': array([b'7'], dtype=object)}

        Args:
            inputs: An array-like for each input by name, or that of the only input. Integers are
                converted to other integers if they fit, numbers to floats if they stay finite, and
                text to UTF-8; floats are not converted to integers, nor numbers to booleans.
            signature: The name of the signature.
            outputs: The names of the outputs to return; by default all of them.
            timeout: Seconds for this call, instead of the client's.

        Returns:
            An array for each output, with the dtype and the shape of the signature: strings as object
            arrays of bytes, bfloat16 as float32.

        Raises:
            InvalidInputError: An input is missing or unknown, has another shape, cannot be converted
                without loss, or is refused by the model; or there is no such output.
            SignatureNotFoundError: The model has no such signature.
            ClientError: The call failed in another way.
        """
        return self._run(self._call(inputs, signature, outputs, timeout))

    def predict(self, images: ArrayLike, *, timeout: float | None = None) -> Predictions:
        """Classify images.

        The images are checked against the signature of the model before they are sent.

        ::

            >>> client.predict(images)[0]
            Prediction(class_id=7, class_name='7', probability=1.0)

        Args:
            images: Integers from 0 to 255 of shape (n, h, w) or (h, w), as an array or lists.
                Floats are rejected: the model scales by itself, and scaling twice would give
                wrong answers.
            timeout: Seconds for this call, instead of the client's.

        Returns:
            The predictions in the order of the images.

        Raises:
            InvalidInputError: The dtype, the range or the shape is wrong.
            ClientError: The call failed in another way.
        """
        return self._run(self._predict(images, timeout))

    def predict_pictures(
        self, pictures: PicturesLike, *, timeout: float | None = None
    ) -> Predictions:
        """Classify pictures of any colour: PNG, JPEG, BMP or WebP of up to 50 million pixels.

        ::

            >>> client.predict_pictures(["seven.png"]).class_ids
            array([7])

        Args:
            pictures: The path or the contents of a file, or several of these.
            timeout: Seconds for this call, instead of the client's.

        Returns:
            The predictions in the order of the pictures.

        Raises:
            InvalidInputError: A file cannot be read, or is not a picture.
            ClientError: The call failed in another way.
        """
        return self._run(self._predict_pictures(pictures, timeout))

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """Return the state of every version of the model, newest first.

        ::

            >>> client.status()
            [VersionStatus(version=1, state='AVAILABLE', error_code='OK', error_message='')]

        Args:
            timeout: Seconds for this call, instead of the client's.

        Returns:
            The states of the versions that the server has tried to load; only that of the
            client's version, if it has one. A label has no influence.

        Raises:
            ModelNotFoundError: The server has no such model.
            VersionNotFoundError: The server has no such version.
            ClientError: The call failed in another way.
        """
        return self._run(self._read_status(timeout))

    def metadata(self, *, timeout: float | None = None) -> Metadata:
        """Return the signatures of the version that answers, read from the server each time.

        ::

            >>> print(client.metadata().signatures["serving_default"].inputs["images"])
            uint8 (n, 28, 28)

        Args:
            timeout: Seconds for this call, instead of the client's.

        Returns:
            The version and its signatures.

        Raises:
            ModelNotFoundError: The server has no such model.
            VersionNotFoundError: The server has no such version.
            LabelNotFoundError: The server has no such label.
            NotReadyError: No such version is AVAILABLE.
            ClientError: The call failed in another way.
        """
        return self._run(self._read_metadata(self._deadline(timeout)))

    def is_ready(self, *, timeout: float | None = None) -> bool:
        """Return whether the model, or the client's version or label of it, is AVAILABLE.

        ::

            >>> client.is_ready()
            True

        Args:
            timeout: Seconds for this call, instead of the client's.

        Returns:
            False after any failure, which is not retried.
        """
        return self._run(self._is_ready(timeout))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the model, or the client's version or label of it, is AVAILABLE.

        ::

            >>> client.wait_until_ready(timeout=10)

        Args:
            timeout: Seconds to wait.

        Raises:
            NotReachableError: Nothing accepted a connection: the server is down, or has not yet
                loaded its first model. Raised at once if the TLS handshake fails.
            NotReadyError: The version is still loading. Raised at once if the load has failed or
                the version was unloaded (``state`` is END).
            ModelNotFoundError: The server has no such model. Raised at once.
            VersionNotFoundError: The server has no such version. Raised at once.
            LabelNotFoundError: The server has no such label. Raised at once.
            ClientError: The call failed in another way.
        """
        return self._run(self._wait_until_ready(timeout))

    def close(self) -> None:
        """Close all connections. Later calls raise ClosedError."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _open(self, address: Address, headers: Mapping[str, str]) -> Transport:
        if address.is_grpc:
            from kmnist.client.grpc import GrpcTransport

            return GrpcTransport(address, headers)
        from kmnist.client.rest import RestTransport

        return RestTransport(address, headers)

    def _run(self, flow: Flow[T]) -> T:
        """Execute the steps of a call."""
        try:
            step = next(flow)
            while True:
                try:
                    result: Any = None
                    if isinstance(step, Send):
                        result = getattr(self._transport, step.method)(*step.args)
                    else:
                        time.sleep(step)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as stop:
            return cast("T", stop.value)
        except ClientError as error:
            self._about(error)
            raise
