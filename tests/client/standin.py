"""A small stand-in for TensorFlow Serving, without TensorFlow.

It answers like the real server over gRPC and REST, with a softmax model in NumPy, and can be made
to fail. ``python -m tests.client.standin GRPC_PORT REST_PORT`` runs one in a process of its own.
"""

import base64
import http.server
import json
import re
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, NamedTuple, Self

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from kmnist.protocol import messages as methods
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.codes import HTTP_STATUS_OF_CODE
from kmnist.protocol.tensors import from_array, to_array

Arrays = Mapping[str, NDArray[Any]]


class RefusedError(Exception):
    """A failure of a request: a gRPC code and a text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Received(NamedTuple):
    """A predict request that the server received."""

    signature: str
    size: int
    headers: dict[str, str]


class Model:
    """Softmax regression with fixed random weights and the signatures of an exported version."""

    def __init__(self, height: int = 28, width: int = 28) -> None:
        self.shape = (height, width)
        self.weights = np.random.default_rng(0).normal(size=(height * width, 10)) / 10
        self.inputs = {
            "serving_default": ("images", tensor_info(pb.DT_UINT8, -1, height, width)),
            "pixels": ("pixels", tensor_info(pb.DT_STRING, -1)),
            "pictures": ("pictures", tensor_info(pb.DT_STRING, -1)),
        }

    def outputs(self, signature: str, values: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return the outputs of a signature."""
        images = np.asarray(values)
        if signature == "pixels":
            images = np.array([np.frombuffer(value, np.uint8) for value in images])
        if signature == "pictures":  # a real model decodes; here the length decides
            images = np.array([np.full(self.shape, len(value) % 256) for value in images])
        logits = images.reshape(len(images), -1) / 255 @ self.weights
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exps / exps.sum(axis=1, keepdims=True)).astype(np.float32)
        class_ids = probabilities.argmax(axis=1)
        names = np.array([b"%d" % class_id for class_id in class_ids], dtype=object)
        return {"probabilities": probabilities, "class_ids": class_ids, "class_names": names}

    def definitions(self) -> pb.SignatureDefMap:
        """Return the signatures as a message."""
        found = pb.SignatureDefMap()
        found.signature_def[methods.INIT_SIGNATURE].SetInParent()
        for signature, (name, info) in self.inputs.items():
            entry = found.signature_def[signature]
            entry.inputs[name].CopyFrom(info)
            entry.outputs["probabilities"].CopyFrom(tensor_info(pb.DT_FLOAT, -1, 10))
            entry.outputs["class_ids"].CopyFrom(tensor_info(pb.DT_INT64, -1))
            entry.outputs["class_names"].CopyFrom(tensor_info(pb.DT_STRING, -1))
        return found


class StandIn:
    """The server. Its attributes may be changed while it runs.

    Attributes:
        model: The model of every version.
        states: The state of each version.
        messages: The error message of each version.
        labels: The version of each label.
        fail: Code and text of the next requests, one each.
        gate: While it is cleared, requests wait.
        arrived: Released by each request.
        max_batch_size: Most images in a request.
        change: Changes the outputs before they are sent.
        requests: The predict requests received.
        last: The path and the body of the last REST request.
        answers: Bytes to answer with instead, by the method's path or the end of the URL's.
    """

    rpc: grpc.Server
    http: "HTTPServer"
    last: tuple[str, bytes]

    def __init__(self) -> None:
        self.grpc_port = 0
        self.gate = threading.Event()
        self.reset()

    def reset(self) -> Self:
        """Set every attribute to its default."""
        self.model = Model()
        self.states: dict[int, str] = {1: "AVAILABLE"}
        self.messages: dict[int, str] = {}
        self.labels: dict[str, int] = {"stable": 1}
        self.fail: list[tuple[str, str]] = []
        self.arrived = threading.Semaphore(0)
        self.max_batch_size = 10_000
        self.change: Callable[[dict[str, NDArray[Any]]], Arrays] = lambda outputs: outputs
        self.requests: list[Received] = []
        self.answers: dict[str, bytes] = {}
        self.gate.set()
        return self

    def url(self, scheme: str) -> str:
        """Return the address over ``grpc``, ``grpcs``, ``http`` or ``https``."""
        port = self.grpc_port if scheme.startswith("grpc") else self.http.server_port
        return f"{scheme}://127.0.0.1:{port}"

    def serve(
        self,
        grpc_port: int = 0,
        http_port: int = 0,
        *,
        credentials: grpc.ServerCredentials | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Self:
        """Listen for gRPC and REST, with TLS if credentials and a context are given."""
        handlers = [
            self._handler(methods.PREDICT, self.predict, pb.PredictRequest),
            self._handler(methods.GET_MODEL_METADATA, self.metadata, pb.GetModelMetadataRequest),
            self._handler(methods.GET_MODEL_STATUS, self.status, pb.GetModelStatusRequest),
        ]
        options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        self.rpc = grpc.server(futures.ThreadPoolExecutor(8), handlers=handlers, options=options)
        place = f"127.0.0.1:{grpc_port}"
        self.grpc_port = (
            self.rpc.add_secure_port(place, credentials)
            if credentials
            else self.rpc.add_insecure_port(place)
        )
        self.rpc.start()
        self.http = HTTPServer(self, http_port)
        if context is not None:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the ports."""
        self.rpc.stop(None).wait()
        self.http.shutdown()
        self.http.server_close()

    def predict(self, request: pb.PredictRequest, headers: dict[str, str]) -> pb.PredictResponse:
        """Answer a predict request."""
        signature = request.model_spec.signature_name
        inputs = {name: to_array(tensor) for name, tensor in request.inputs.items()}
        (values,) = inputs.values()
        self.requests.append(Received(signature, len(values), headers))
        version = self._version(request.model_spec)
        if len(values) > self.max_batch_size:
            text = f"Task size {len(values)} is larger than maximum input batch size "
            raise RefusedError("INVALID_ARGUMENT", f"{text}{self.max_batch_size}")
        response = pb.PredictResponse()
        response.model_spec.version.value = version
        for name, array in self.change(self.model.outputs(signature, values)).items():
            from_array(array, response.outputs[name])
        return response

    def metadata(
        self, request: pb.GetModelMetadataRequest, _headers: dict[str, str]
    ) -> pb.GetModelMetadataResponse:
        """Answer a metadata request."""
        response = pb.GetModelMetadataResponse()
        response.model_spec.version.value = self._version(request.model_spec)
        response.metadata["signature_def"].type_url = methods.SIGNATURES_TYPE_URL
        response.metadata["signature_def"].value = self.model.definitions().SerializeToString()
        return response

    def status(
        self, request: pb.GetModelStatusRequest, _headers: dict[str, str]
    ) -> pb.GetModelStatusResponse:
        """Answer a status request."""
        self._enter()
        spec = request.model_spec
        if spec.name != "kmnist":
            raise RefusedError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        wanted = [spec.version.value] if spec.HasField("version") else [*self.states]
        if not {*wanted} <= {*self.states}:
            raise RefusedError("NOT_FOUND", f"Could not find version {wanted[0]} of model kmnist")
        response = pb.GetModelStatusResponse()
        for number in wanted:
            found = response.model_version_status.add(version=number, state=self.states[number])
            found.status.error_message = self.messages.get(number, "")
        return response

    def rest(self, path: str, body: bytes, headers: dict[str, str]) -> Any:
        """Return the JSON of a REST answer."""
        match = re.fullmatch(
            r"(?:/up)?/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict|/metadata)?",
            path,
        )
        if not match:
            raise RefusedError("INVALID_ARGUMENT", f"Malformed request: {path}")
        name, version, label, verb = match.groups()
        spec = pb.ModelSpec(name=name, version_label=label)
        if version is not None:
            spec.version.value = int(version)
        if verb is None:
            return as_dict(self.status(pb.GetModelStatusRequest(model_spec=spec), headers))
        if verb == "/metadata":
            found = self.metadata(pb.GetModelMetadataRequest(model_spec=spec), headers)
            return {
                "model_spec": {"version": str(found.model_spec.version.value)},
                "metadata": {"signature_def": as_dict(self.model.definitions())},
            }
        parsed = json.loads(body)
        spec.signature_name = parsed["signature_name"]
        request = pb.PredictRequest(model_spec=spec)
        for key, value in parsed["inputs"].items():
            strings = [base64.b64decode(v["b64"]) for v in value if isinstance(v, dict)]
            from_array(np.array(strings, object) if strings else value, request.inputs[key])
        outputs = self.predict(request, headers).outputs.items()
        return {"outputs": {key: as_list(to_array(tensor)) for key, tensor in outputs}}

    def _handler(
        self, path: str, function: Callable[[Any, dict[str, str]], Message], request: type[Message]
    ) -> Any:
        """Return the handler of one gRPC method."""

        def answer(message: Any, context: grpc.ServicerContext) -> bytes:
            try:
                headers = {str(key): str(value) for key, value in context.invocation_metadata()}
                found = function(message, headers)
            except RefusedError as refused:
                context.abort(getattr(grpc.StatusCode, refused.code), refused.text)
            return self.answers.get(path, found.SerializeToString())

        _, service, method = path.split("/")
        unary = grpc.unary_unary_rpc_method_handler(answer, request.FromString)
        return grpc.method_handlers_generic_handler(service, {method: unary})

    def _enter(self) -> None:
        self.arrived.release()
        self.gate.wait(60)
        if self.fail:
            raise RefusedError(*self.fail.pop(0))

    def _version(self, spec: pb.ModelSpec) -> int:
        """Wait for the gate; return the version that answers."""
        self._enter()
        label = spec.version_label
        if label and label not in self.labels:
            raise RefusedError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        available = [number for number, state in self.states.items() if state == "AVAILABLE"]
        version = self.labels[label] if label else max(available, default=None)
        if spec.HasField("version"):
            version = spec.version.value
        if spec.name != "kmnist" or version not in available:
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {spec.name}")
        return version


class HTTPServer(http.server.ThreadingHTTPServer):
    """The HTTP server of a stand-in, which counts connections and ignores those that are lost."""

    daemon_threads = True

    def __init__(self, standin: StandIn, port: int) -> None:
        self.standin, self.accepted = standin, 0
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection."""
        self.accepted += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnected."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of a connection."""

    server: HTTPServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        standin, status = self.server.standin, 200
        standin.last = (self.path, body)
        try:
            result = standin.rest(self.path, body, headers)
        except RefusedError as refused:
            status, result = HTTP_STATUS_OF_CODE[refused.code], {"error": refused.text}
        end = re.sub(r"^.*/kmnist", "", self.path)
        content = standin.answers.get(end, json.dumps(result).encode())
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


def tensor_info(dtype: pb.DataType, *sizes: int) -> pb.TensorInfo:
    """Return a TensorInfo."""
    dims = [pb.TensorShapeProto.Dim(size=size) for size in sizes]
    return pb.TensorInfo(dtype=dtype, tensor_shape=pb.TensorShapeProto(dim=dims))


def as_list(array: NDArray[Any]) -> list[Any]:
    """Return an output in the column format."""
    return [v.decode() for v in array.tolist()] if array.dtype == object else array.tolist()


def as_dict(message: Message) -> Any:
    """Return a message in the JSON format of TensorFlow Serving."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


if __name__ == "__main__":
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    server = StandIn().serve(*map(int, sys.argv[1:]))
    sys.stdout.write("up\n")
    sys.stdout.flush()
    terminated.wait()
    server.stop()
