"""The gRPC port: PredictionService, ModelService and health checking."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.protocol import messages
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import TensorError, from_array, to_array
from kmnist.server.errors import StatusError, invalid, shortened
from kmnist.server.service import Service

__all__ = ["GrpcApi"]

# The size limit of a request.
_MAX_BYTES: Final = 64 * 2**20
# Between the first refusal of a call and the end of the port.
_REFUSING_SECONDS: Final = 0.1
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", -1),
    # A second server on the same port must fail instead of taking half of the requests.
    ("grpc.so_reuseport", 0),
]
_SERVICES: Final = [
    "",
    *sorted({path.split("/")[1] for path in (messages.PREDICT, messages.GET_MODEL_STATUS)}),
]
_log = logging.getLogger(__name__)
_Request = TypeVar("_Request", bound=Message)


class GrpcApi:
    """The gRPC server; it belongs to the event loop in which it is created."""

    def __init__(self, service: Service) -> None:
        """Create the API of a model."""
        self._service = service
        self._stopping = False
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # not in the stubs
        self._server = grpc.aio.server(
            handlers=[
                self._handler(messages.PREDICT, pb.PredictRequest, self._predict),
                self._handler(
                    messages.GET_MODEL_METADATA, pb.GetModelMetadataRequest, self._metadata
                ),
                self._handler(messages.GET_MODEL_STATUS, pb.GetModelStatusRequest, self._status),
            ],
            options=_OPTIONS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, address: str) -> None:
        """Listen on ``host:port``, and report SERVING to health checks.

        Raises:
            RuntimeError: The address cannot be listened on.
        """
        self._server.add_insecure_port(address)
        for service in _SERVICES:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Refuse new requests, and cancel those in progress after ``grace`` seconds."""
        self._stopping = True
        await self._health.enter_graceful_shutdown()
        # grpcio cancels the calls that wait to be accepted, rather than to refuse them. Callers that are
        # refused pause, so that few wait after this time.
        await asyncio.sleep(_REFUSING_SECONDS)
        await self._server.stop(grace)

    def _handler(
        self,
        path: str,
        request_type: type[_Request],
        answer: Callable[[_Request], Awaitable[Message]],
    ) -> Any:
        """Return the handler of the method at ``path``, which is ``/service/method``.

        Args:
            path: The path of the method.
            request_type: The message that it receives.
            answer: Returns the response to a request.
        """
        _, service, method = path.split("/")

        async def handle(data: bytes, context: grpc.aio.ServicerContext[bytes, Message]) -> Message:
            try:
                self._refuse_if_stopping()
                return await answer(request_type.FromString(data))
            except StatusError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - logged; the server continues
                _log.exception("gRPC %s failed", method)
                failure = StatusError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
            _log.info("gRPC %s %s: %s", method, failure.code.name, one_line(failure))
            return await context.abort(failure.code, failure.message)

        unary = grpc.unary_unary_rpc_method_handler(
            handle, response_serializer=lambda response: response.SerializeToString()
        )
        return grpc.method_handlers_generic_handler(service, {method: unary})

    def _refuse_if_stopping(self) -> None:
        if self._stopping:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    async def _predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        name, version, label = _target(request)

        def compute() -> pb.PredictResponse:
            with self._service.versions.use(name, version, label) as model:
                signature = model.signature(request.model_spec.signature_name)
                signature.check_names(request.inputs.keys())
                outputs = self._service.run(model.version, signature, _arrays(request.inputs))
            response = pb.PredictResponse(model_spec=_spec(name, model.version, signature.name))
            for output in _wanted(list(request.output_filter), signature.outputs):
                # In the typed field, as TensorFlow Serving does by default.
                from_array(outputs[output], response.outputs[output], typed=True)
            return response

        return await self._service.predict(name, "GRPC", compute)

    async def _metadata(self, request: pb.GetModelMetadataRequest) -> pb.GetModelMetadataResponse:
        if set(request.metadata_field) != {"signature_def"}:
            raise invalid("the metadata_field of a request must be signature_def")
        name, version, label = _target(request)
        with self._service.versions.use(name, version, label) as model:
            signatures = AnyMessage(type_url=messages.SIGNATURES_TYPE_URL, value=model.metadata)
            return pb.GetModelMetadataResponse(
                model_spec=_spec(name, model.version),
                metadata={"signature_def": signatures},
            )

    async def _status(self, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
        # As in TensorFlow Serving, a label is ignored here: all versions are listed.
        name, version, _ = _target(request)
        return self._service.versions.status(name, version)


def _target(request: Any) -> tuple[str, int | None, str | None]:
    """Return the model name, version and label of a request."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return spec.name, version, label


def _spec(name: str, version: int, signature: str = "") -> pb.ModelSpec:
    return pb.ModelSpec(name=name, version=Int64Value(value=version), signature_name=signature)


def _arrays(inputs: Mapping[str, pb.TensorProto]) -> dict[str, NDArray[Any]]:
    """Read the inputs of a request, none of which may become larger than a request."""
    arrays = {}
    for name, tensor in inputs.items():
        try:
            arrays[name] = to_array(tensor, limit=_MAX_BYTES)
        except TensorError as error:
            raise invalid(f"input {name!r}: {error}") from None
    return arrays


def _wanted(output_filter: list[str], outputs: tuple[str, ...]) -> list[str]:
    """Return the names of the requested outputs; of all outputs without a filter."""
    for name in output_filter:
        if name not in outputs:
            raise invalid(f"output tensor alias not found in signature: {shortened(name)}")
    return output_filter or list(outputs)
