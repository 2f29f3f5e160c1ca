"""The gRPC transport: PredictionService, ModelService and health checking."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.messages import (
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    SIGNATURES_TYPE_URL,
)
from kmnist.protocol.tensors import TensorError, from_array, to_array
from kmnist.server.errors import StatusError, invalid, shortened
from kmnist.server.service import Service

__all__ = ["GrpcApi"]

# Threads beyond the limit of the service, for refusals under load.
_SPARE_THREADS: Final = 4
# Threads for states, signatures and health checks, which slow callers of Predict do not occupy.
_STATUS_THREADS: Final = 4
# Calls at a time, for each place of the service. Further ones are refused without a thread.
_CALLS_PER_PLACE: Final = 16
# The size limit of a request.
_MAX_BYTES: Final = 64 * 2**20
_log = logging.getLogger(__name__)
_Request = TypeVar("_Request", bound=Message)


class GrpcApi:
    """The gRPC services on one port."""

    def __init__(self, service: Service, address: str, concurrency: int) -> None:
        """Listen on an address; requests are answered after ``start``.

        Args:
            service: The model.
            address: ``host:port``.
            concurrency: The number of requests that are processed at a time.

        Raises:
            OSError: The address cannot be listened on.
        """
        self._service = service
        self._threads = ThreadPoolExecutor(
            concurrency + _SPARE_THREADS, thread_name_prefix="kmnist-grpc"
        )
        self._status_threads = ThreadPoolExecutor(
            _STATUS_THREADS, thread_name_prefix="kmnist-grpc-status"
        )
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._server = grpc.server(
            self._status_threads,
            handlers=[
                self._handler(PREDICT, self._predict, self._threads),
                self._handler(GET_MODEL_METADATA, self._metadata),
                self._handler(GET_MODEL_STATUS, self._status),
            ],
            options=[
                ("grpc.max_receive_message_length", _MAX_BYTES),
                ("grpc.max_send_message_length", -1),
                # A second server on the same port must fail instead of taking half of the requests.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=_CALLS_PER_PLACE * (concurrency + _SPARE_THREADS),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(str(error)) from None

    def start(self) -> None:
        """Answer requests, and report SERVING to health checks."""
        for service in _health_names():
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()

    def stop(self, grace: float) -> None:
        """Refuse new requests, and cancel those in progress after ``grace`` seconds."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        for threads in (self._threads, self._status_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def _predict(self, data: bytes) -> pb.PredictResponse:
        with ExitStack() as held:
            with self._service.decoding(len(data)):
                request = _parsed(data, pb.PredictRequest)
                name = request.model_spec.name
                held.enter_context(self._service.counted(name, "GRPC"))
                held.enter_context(self._service.slot())
                servable = held.enter_context(self._service.versions.use(name, *_version(request)))
                signature = servable.signature(request.model_spec.signature_name)
                signature.check_names(request.inputs.keys())
                inputs = _arrays(request.inputs, _MAX_BYTES)
                output_filter = list(request.output_filter)
                del request
            outputs = self._service.run(signature, inputs)
            response = pb.PredictResponse(model_spec=_spec(name, servable.version, signature.name))
            for output in _wanted(output_filter, signature.outputs):
                _write(outputs[output], response.outputs[output])
            return response

    def _metadata(self, data: bytes) -> pb.GetModelMetadataResponse:
        request = _parsed(data, pb.GetModelMetadataRequest)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {shortened(field)} is not supported")
        name = request.model_spec.name
        with self._service.versions.use(name, *_version(request)) as servable:
            return pb.GetModelMetadataResponse(
                model_spec=_spec(name, servable.version),
                metadata={
                    "signature_def": AnyMessage(
                        type_url=SIGNATURES_TYPE_URL, value=servable.metadata
                    )
                },
            )

    def _status(self, data: bytes) -> pb.GetModelStatusResponse:
        request = _parsed(data, pb.GetModelStatusRequest)
        # As in TensorFlow Serving, a label is ignored here: all versions are listed.
        version, _ = _version(request)
        return self._service.versions.status(request.model_spec.name, version)

    def _handler(
        self,
        path: str,
        answer: Callable[[bytes], Message],
        threads: ThreadPoolExecutor | None = None,
    ) -> Any:
        """Return the handler of the method at ``path``, which is ``/service/method``.

        Args:
            path: The path of the method.
            answer: Returns the response to a serialized request.
            threads: The threads that run it; None for those of the server.
        """
        _, service, method = path.split("/")

        def handle(data: bytes, context: grpc.ServicerContext) -> Message:
            try:
                return answer(data)
            except StatusError as error:
                _log.info("gRPC %s %s: %s", method, error.code.name, one_line(error.message))
                _abort(context, error.code, error.message)
            except Exception as error:  # noqa: BLE001 - logged; the server continues
                _log.exception("gRPC %s failed", method)
                failure = StatusError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")
                _abort(context, failure.code, failure.message)

        handle.experimental_thread_pool = threads  # type: ignore[attr-defined]
        unary = grpc.unary_unary_rpc_method_handler(
            handle,
            # Parsed by the method: gRPC would log a traceback for each message that is garbage.
            request_deserializer=None,
            response_serializer=lambda response: response.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(service, {method: unary})


def _parsed(data: bytes, message: type[_Request]) -> _Request:
    try:
        return message.FromString(data)
    except DecodeError:
        raise StatusError(
            grpc.StatusCode.INTERNAL, f"the request is not a {message.__name__}"
        ) from None


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError  # abort always raises, contrary to its annotation


def _version(request: Any) -> tuple[int | None, str | None]:
    """Return the version and the label of a request."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    match spec.WhichOneof("version_choice"):
        case "version":
            return spec.version.value, None
        case "version_label":
            return None, spec.version_label
    return None, None


def _spec(name: str, version: int, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def _arrays(inputs: Mapping[str, pb.TensorProto], limit: int) -> dict[str, NDArray[Any]]:
    """Read the inputs of a request, each of at most ``limit`` bytes."""
    arrays = {}
    for name, tensor in inputs.items():
        try:
            arrays[name] = to_array(tensor, limit=limit)
        except TensorError as error:
            raise invalid(f"input {name!r}: {error}") from None
    return arrays


def _write(output: NDArray[Any], into: pb.TensorProto) -> None:
    """Write an output in the typed field, as TensorFlow Serving does by default."""
    try:
        from_array(output, into, typed=True)
    except TensorError:
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED, f"outputs of type {output.dtype} are not supported"
        ) from None


def _wanted(output_filter: Any, outputs: tuple[str, ...]) -> list[str]:
    """Return the names of the requested outputs; of all outputs without a filter."""
    wanted = list(output_filter)
    for name in wanted:
        if name not in outputs:
            raise invalid(
                f"output tensor alias not found in signature: {shortened(name)} "
                f"Outputs expected to be in the set {{{','.join(sorted(outputs))}}}."
            )
    if len(set(wanted)) < len(wanted):
        raise invalid(f"duplicate output tensor alias in {shortened(str(wanted))}")
    return wanted or list(outputs)


def _health_names() -> list[str]:
    services = {path.split("/")[1] for path in (PREDICT, GET_MODEL_STATUS)}
    return ["", *sorted(services)]
