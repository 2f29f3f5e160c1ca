"""A small stand-in for TensorFlow Serving, in this process and without TensorFlow.

It answers like the real server over gRPC and REST, with a softmax model in numpy, and can be made
to fail.
"""

import base64
import http.server
import json
import re
import ssl
import threading
import time
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
from kmnist.protocol.messages import INIT_SIGNATURE
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

    def __init__(self, height: int = 28, width: int = 28, classes: int = 10) -> None:
        self.shape, self.classes = (height, width), classes
        self.weights = np.random.default_rng(0).normal(size=(height * width, classes)) / 10
        self.inputs: dict[str, tuple[str, pb.DataType, tuple[int, ...]] | None] = {
            "serving_default": ("images", pb.DT_UINT8, (-1, height, width)),
            "pixels": ("pixels", pb.DT_STRING, (-1,)),
            "pictures": ("pictures", pb.DT_STRING, (-1,)),
            INIT_SIGNATURE: None,
        }

    def outputs(self, signature: str, values: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return the outputs of a signature."""
        images = np.asarray(values)
        if signature == "pixels":
            if any(len(value) != np.prod(self.shape) for value in images):
                raise RefusedError("INVALID_ARGUMENT", "Input to DecodeRaw has the wrong length")
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
        for signature, spec in self.inputs.items():
            entry = found.signature_def[signature]
            if spec is not None:
                name, dtype, shape = spec
                entry.inputs[name].CopyFrom(tensor_info(dtype, *shape))
                probabilities = tensor_info(pb.DT_FLOAT, -1, self.classes)
                entry.outputs["probabilities"].CopyFrom(probabilities)
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
        delay: Seconds before each answer.
        max_batch_size: Most images in a request.
        typed: Whether gRPC answers use typed fields rather than tensor_content.
        change: Changes the outputs before they are sent.
        requests: The predict requests received.
    """

    grpc_port: int
    http_port: int

    def __init__(self) -> None:
        self._grpc: grpc.Server | None = None
        self._http: QuietServer | None = None
        self.reset()

    def reset(self) -> Self:
        """Set every attribute to its default."""
        self.model = Model()
        self.states: dict[int, str] = {1: "AVAILABLE"}
        self.messages: dict[int, str] = {}
        self.labels: dict[str, int] = {"stable": 1}
        self.fail: list[tuple[str, str]] = []
        self.delay: float = 0.0
        self.max_batch_size: int | None = None
        self.typed = False
        self.change: Callable[[dict[str, NDArray[Any]]], Arrays] = lambda outputs: outputs
        self.requests: list[Received] = []
        return self

    def port(self, scheme: str) -> int:
        """Return the port of ``grpc`` or ``http``."""
        return self.grpc_port if scheme == "grpc" else self.http_port

    def predict(
        self,
        name: str,
        version: int | None,
        label: str | None,
        signature: str,
        inputs: Arrays,
        headers: dict[str, str],
    ) -> tuple[int, Arrays]:
        """Return the version and the outputs of a predict request."""
        self.requests.append(Received(signature, len(next(iter(inputs.values()), ())), headers))
        self._maybe_fail()
        version = self._version(name, version, label)
        spec = self.model.inputs.get(signature)
        if spec is None:
            if "rest" in headers:
                text = f'"{signature}" not found in signature def. expected one of: ...'
                raise RefusedError("INVALID_ARGUMENT", text)
            text = f"Serving signature key {signature!r} not found."
            raise RefusedError("FAILED_PRECONDITION", text)
        values = inputs[spec[0]]
        if self.max_batch_size and len(values) > self.max_batch_size:
            raise RefusedError(
                "INVALID_ARGUMENT",
                f"Task size {len(values)} is larger than maximum input batch size "
                f"{self.max_batch_size}",
            )
        if signature == "serving_default" and values.shape[1:] != self.model.shape:
            raise RefusedError("INVALID_ARGUMENT", f"Tensor had shape {values.shape}")
        return version, self.change(self.model.outputs(signature, values))

    def metadata(
        self, name: str, version: int | None, label: str | None
    ) -> tuple[int, pb.SignatureDefMap]:
        """Return the version and the signatures of a metadata request."""
        self._maybe_fail()
        return self._version(name, version, label), self.model.definitions()

    def status(self, name: str, version: int | None) -> pb.GetModelStatusResponse:
        """Return the states of all versions, or of one."""
        self._maybe_fail()
        if name != "kmnist":
            raise RefusedError("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in self.states:
            raise RefusedError("NOT_FOUND", f"Could not find version {version} of model {name}")
        return pb.GetModelStatusResponse(
            model_version_status=[
                pb.ModelVersionStatus(
                    version=v,
                    state=s,
                    status=pb.StatusProto(error_message=self.messages.get(v, "")),
                )
                for v, s in self.states.items()
                if version in (None, v)
            ]
        )

    def serve_grpc(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen for gRPC; return the port."""
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(8),
            handlers=[
                handler(methods.PREDICT, self._grpc_predict, pb.PredictRequest),
                handler(
                    methods.GET_MODEL_METADATA, self._grpc_metadata, pb.GetModelMetadataRequest
                ),
                handler(methods.GET_MODEL_STATUS, self._grpc_status, pb.GetModelStatusRequest),
            ],
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        place = f"127.0.0.1:{port}"
        self.grpc_port = (
            self._grpc.add_secure_port(place, credentials)
            if credentials
            else self._grpc.add_insecure_port(place)
        )
        self._grpc.start()
        return self.grpc_port

    def serve_http(self, port: int = 0, context: ssl.SSLContext | None = None) -> int:
        """Listen for REST; return the port."""
        answer = self._rest

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, result = 200, answer(self.command, self.path, body, headers)
                except RefusedError as refused:
                    status, result = HTTP_STATUS_OF_CODE[refused.code], {"error": refused.text}
                content = json.dumps(result).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - named by http.server

            def log_message(self, *_args: object) -> None:
                pass

        self._http = QuietServer(("127.0.0.1", port), Handler)
        if context is not None:
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.http_port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self.http_port

    def open_connections(self) -> int:
        """Return the number of open HTTP connections."""
        return len(self._http.open) if self._http is not None else 0

    def stop(self) -> None:
        """Close all ports and connections."""
        if self._grpc is not None:
            self._grpc.stop(None).wait()
        if self._http is not None:
            self._http.shutdown()
            self._http.drop_connections()
            self._http.server_close()

    def _maybe_fail(self) -> None:
        if self.delay:
            time.sleep(self.delay)
        if self.fail:
            raise RefusedError(*self.fail.pop(0))

    def _version(self, name: str, version: int | None, label: str | None) -> int:
        if name != "kmnist":
            raise RefusedError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        if label is not None:
            if label not in self.labels:
                raise RefusedError(
                    "INVALID_ARGUMENT", f"Unrecognized servable version label: {label}"
                )
            version = self.labels[label]
        available = [number for number, state in self.states.items() if state == "AVAILABLE"]
        if version is None and available:
            return max(available)
        if version not in available:
            wanted = f"Specific(kmnist, {version})" if version is not None else "Latest(kmnist)"
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return version

    def _grpc_predict(
        self, request: pb.PredictRequest, headers: dict[str, str]
    ) -> pb.PredictResponse:
        spec = request.model_spec
        inputs = {name: to_array(tensor) for name, tensor in request.inputs.items()}
        signature = spec.signature_name or "serving_default"
        version, outputs = self.predict(spec.name, *choice(spec), signature, inputs, headers)
        response = pb.PredictResponse()
        response.model_spec.version.value = version
        for name, array in outputs.items():
            from_array(array, response.outputs[name], typed=self.typed)
        return response

    def _grpc_metadata(
        self, request: pb.GetModelMetadataRequest, _headers: dict[str, str]
    ) -> pb.GetModelMetadataResponse:
        version, found = self.metadata(request.model_spec.name, *choice(request.model_spec))
        response = pb.GetModelMetadataResponse()
        response.model_spec.version.value = version
        response.metadata["signature_def"].type_url = methods.SIGNATURES_TYPE_URL
        response.metadata["signature_def"].value = found.SerializeToString()
        return response

    def _grpc_status(
        self, request: pb.GetModelStatusRequest, _headers: dict[str, str]
    ) -> pb.GetModelStatusResponse:
        return self.status(request.model_spec.name, choice(request.model_spec)[0])

    def _rest(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        match = re.fullmatch(
            r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict|/metadata)?", path
        )
        if not match:
            raise RefusedError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        name, digits, label, verb = match.groups()
        version = None if digits is None else int(digits)
        if verb is None:
            return as_dict(self.status(name, version))
        if verb == "/metadata":
            version, found = self.metadata(name, version, label)
            return {
                "model_spec": {"name": "kmnist", "signature_name": "", "version": str(version)},
                "metadata": {"signature_def": as_dict(found)},
            }
        request = json.loads(body)
        inputs = {name: column(value) for name, value in request["inputs"].items()}
        signature = request.get("signature_name", "serving_default")
        headers = {**headers, "rest": "yes"}
        _, outputs = self.predict(name, version, label, signature, inputs, headers)
        return {
            "outputs": {
                key: [v.decode() for v in value.tolist()]
                if value.dtype == object
                else value.tolist()
                for key, value in outputs.items()
            }
        }


def handler(
    path: str, function: Callable[[Any, dict[str, str]], Message], request: type[Message]
) -> Any:
    """Return the handler of one gRPC method."""

    def answer(message: Any, context: Any) -> Any:
        try:
            return function(message, dict(context.invocation_metadata()))
        except RefusedError as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), refused.text)

    _, service, method = path.split("/")
    unary = grpc.unary_unary_rpc_method_handler(
        answer, request.FromString, lambda message: message.SerializeToString()
    )
    return grpc.method_handlers_generic_handler(service, {method: unary})


class QuietServer(http.server.ThreadingHTTPServer):
    """Ignores clients that disconnect, and can drop every connection like a killed server."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        self.open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self.open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """Close every connection."""
        for request in list(self.open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error."""


def choice(spec: pb.ModelSpec) -> tuple[int | None, str | None]:
    """Return the version and the label of a ModelSpec."""
    return (
        spec.version.value if spec.HasField("version") else None,
        spec.version_label if spec.HasField("version_label") else None,
    )


def tensor_info(dtype: pb.DataType, *sizes: int) -> pb.TensorInfo:
    """Return a TensorInfo."""
    dims = [pb.TensorShapeProto.Dim(size=size) for size in sizes]
    return pb.TensorInfo(dtype=dtype, tensor_shape=pb.TensorShapeProto(dim=dims))


def column(value: list[Any]) -> NDArray[Any]:
    """Return an input in the column format as an array."""
    if value and isinstance(value[0], dict):
        decoded = np.empty(len(value), dtype=object)
        decoded[:] = [base64.b64decode(each["b64"]) for each in value]
        return decoded
    return np.asarray(value)


def as_dict(message: Message) -> Any:
    """Return a message in the JSON format of TensorFlow Serving."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
