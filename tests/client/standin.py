"""A small stand-in for TensorFlow Serving, in this process and without TensorFlow.

It answers as the real one was observed to, over gRPC and REST, with a softmax model in numpy;
and it can be told to fail.
"""

import base64
import http.server
import json
import re
import threading
import time
from concurrent import futures

import grpc
import numpy as np

from kmnist.protocol import methods
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.tensors import dtype_name, from_array, shape_of, to_array

CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class RefusedError(Exception):
    def __init__(self, code, text) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Model:
    """Softmax regression with fixed random weights, as the exported versions answer."""

    def __init__(self, height=28, width=28, classes=10) -> None:
        self.shape, self.classes = (height, width), classes
        self.weights = np.random.default_rng(0).normal(size=(height * width, classes)) / 10
        self.signatures = {
            "serving_default": ("images", pb.DT_UINT8, (-1, height, width)),
            "pixels": ("pixels", pb.DT_STRING, (-1,)),
            "pictures": ("pictures", pb.DT_STRING, (-1,)),
            "__saved_model_init_op": None,
        }

    def outputs(self, signature, values):
        images = np.asarray(values)
        if signature == "pixels":
            if any(len(value) != np.prod(self.shape) for value in values):
                raise RefusedError("INVALID_ARGUMENT", "Input to DecodeRaw has the wrong length")
            images = np.array([np.frombuffer(value, np.uint8) for value in values])
        if signature == "pictures":  # the real model decodes; here the length is the picture
            images = np.array([np.full(self.shape, len(value) % 256) for value in values])
        logits = images.reshape(len(values), -1) / 255 @ self.weights
        exps = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exps / exps.sum(axis=1, keepdims=True)).astype(np.float32)
        class_ids = probabilities.argmax(axis=1)
        names = np.array([b"%d" % class_id for class_id in class_ids], dtype=object)
        return {"probabilities": probabilities, "class_ids": class_ids, "class_names": names}


class StandIn:
    """Attributes may be changed while it runs: ``states``, ``labels``, ``fail``, ``delay`` …"""

    def __init__(self) -> None:
        self.reset()
        self._grpc = self._http = None
        self.grpc_port = self.http_port = 0

    def reset(self):
        self.model = Model()
        self.states = {1: "AVAILABLE"}
        self.messages = {}
        self.labels = {"stable": 1}
        self.fail = []  # (code, text), one for each request that shall fail
        self.delay = 0.0
        self.max_batch_size = None
        self.typed = False  # answer with float_val and its like
        self.requests = []  # what was predicted: (signature, number of values, headers)
        self.changed = lambda outputs: outputs
        return self

    # What is asked, whatever the transport.

    def _maybe_fail(self) -> None:
        if self.delay:
            time.sleep(self.delay)
        if self.fail:
            raise RefusedError(*self.fail.pop(0))

    def _version(self, name, version, label):
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
            asked = f"Specific(kmnist, {version})" if version is not None else "Latest(kmnist)"
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {asked}")
        return version

    def predict(self, name, version, label, signature, inputs, headers):
        self.requests.append((signature, len(next(iter(inputs.values()), ())), headers))
        self._maybe_fail()
        version = self._version(name, version, label)
        if not self.model.signatures.get(signature):
            code = "INVALID_ARGUMENT" if "rest" in headers else "FAILED_PRECONDITION"
            text = f'"{signature}" not found in signature def. expected one of: ...'
            if "rest" not in headers:
                text = f"Serving signature key {signature!r} not found."
            raise RefusedError(code, text)
        input_name = self.model.signatures[signature][0]
        values = inputs[input_name]
        if self.max_batch_size and len(values) > self.max_batch_size:
            raise RefusedError(
                "INVALID_ARGUMENT",
                f"Task size {len(values)} is larger than maximum input batch size "
                f"{self.max_batch_size}",
            )
        if signature == "serving_default" and values.shape[1:] != self.model.shape:
            raise RefusedError("INVALID_ARGUMENT", f"Tensor had shape {values.shape}")
        return version, self.changed(self.model.outputs(signature, values))

    def metadata(self, name, version, label):
        self._maybe_fail()
        version = self._version(name, version, label)
        found = pb.SignatureDefMap()
        for signature, spec in self.model.signatures.items():
            entry = found.signature_def[signature]
            if spec is not None:
                entry.inputs[spec[0]].CopyFrom(info(spec[1], spec[2]))
                classes = self.model.classes
                entry.outputs["probabilities"].CopyFrom(info(pb.DT_FLOAT, (-1, classes)))
                entry.outputs["class_ids"].CopyFrom(info(pb.DT_INT64, (-1,)))
                entry.outputs["class_names"].CopyFrom(info(pb.DT_STRING, (-1,)))
        return version, found

    def status(self, name, version):
        self._maybe_fail()
        if name != "kmnist":
            raise RefusedError("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in self.states:
            raise RefusedError("NOT_FOUND", f"Could not find version {version} of model {name}")
        return {v: s for v, s in self.states.items() if version in (None, v)}

    # gRPC.

    def _unary(self, function, request_type):
        def answer(request, context):
            try:
                return function(request, dict(context.invocation_metadata()))
            except RefusedError as refused:
                context.abort(getattr(grpc.StatusCode, refused.code), refused.text)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_type.FromString, lambda message: message.SerializeToString()
        )

    def _grpc_predict(self, request, headers):
        spec = request.model_spec
        inputs = {name: to_array(tensor) for name, tensor in request.inputs.items()}
        signature = spec.signature_name or "serving_default"
        version, outputs = self.predict(spec.name, *choice(spec), signature, inputs, headers)
        response = pb.PredictResponse(model_spec={"name": spec.name, "version": {"value": version}})
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(typed(array) if self.typed else from_array(array))
        return response

    def _grpc_metadata(self, request, _headers):
        version, found = self.metadata(request.model_spec.name, *choice(request.model_spec))
        response = pb.GetModelMetadataResponse(model_spec={"version": {"value": version}})
        response.metadata["signature_def"].type_url = methods.SIGNATURES_TYPE_URL
        response.metadata["signature_def"].value = found.SerializeToString()
        return response

    def _grpc_status(self, request, _headers):
        states = self.status(request.model_spec.name, choice(request.model_spec)[0])
        return pb.GetModelStatusResponse(
            model_version_status=[
                {"version": v, "state": s, "status": {"error_message": self.messages.get(v, "")}}
                for v, s in states.items()
            ]
        )

    def serve_grpc(self, port=0, credentials=None):
        handlers = {
            methods.PREDICT: self._unary(self._grpc_predict, pb.PredictRequest),
            methods.GET_MODEL_METADATA: self._unary(
                self._grpc_metadata, pb.GetModelMetadataRequest
            ),
            methods.GET_MODEL_STATUS: self._unary(self._grpc_status, pb.GetModelStatusRequest),
        }

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                return handlers.get(details.method)

        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(8),
            handlers=[Handler()],
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

    # REST.

    def _rest(self, method, path, body, headers):
        match = re.fullmatch(
            r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict|/metadata)?", path
        )
        if not match:
            raise RefusedError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        name, version, label, verb = match.groups()
        version = None if version is None else int(version)
        if verb == "/metadata":
            version, found = self.metadata(name, version, label)
            return rest_metadata(version, found)
        if verb is None:
            states = self.status(name, version)
            return {
                "model_version_status": [
                    {
                        "version": str(v),
                        "state": s,
                        "status": {"error_code": "OK", "error_message": self.messages.get(v, "")},
                    }
                    for v, s in states.items()
                ]
            }
        request = json.loads(body)
        inputs = {name: column(value) for name, value in request["inputs"].items()}
        signature = request.get("signature_name", "serving_default")
        _, outputs = self.predict(
            name, version, label, signature, inputs, {**headers, "rest": "yes"}
        )
        return {
            "outputs": {
                key: [v.decode() for v in value.tolist()]
                if value.dtype == object
                else value.tolist()
                for key, value in outputs.items()
            }
        }

    def serve_http(self, port=0, context=None):
        standin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, answer = 200, standin._rest(self.command, self.path, body, headers)
                except RefusedError as refused:
                    status, answer = CODES[refused.code], {"error": refused.text}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - named by http.server

            def log_message(self, *_args) -> None:
                pass

        self._http = QuietServer(("127.0.0.1", port), Handler)
        if context is not None:
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.http_port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self.http_port

    def stop(self) -> None:
        if self._grpc is not None:
            self._grpc.stop(None).wait()
        if self._http is not None:
            self._http.shutdown()
            self._http.drop_connections()
            self._http.server_close()


class QuietServer(http.server.ThreadingHTTPServer):
    """Forgets who hung up, and can drop every connection as a killed server does."""

    daemon_threads = True

    def __init__(self, *args) -> None:
        self.open = set()
        super().__init__(*args)

    def process_request(self, request, client_address) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for request in list(self.open):
            self.shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        pass


def choice(spec):
    return (
        spec.version.value if spec.HasField("version") else None,
        spec.version_label if spec.HasField("version_label") else None,
    )


def info(dtype, shape):
    dims = [pb.TensorShapeProto.Dim(size=size) for size in shape]
    return pb.TensorInfo(dtype=dtype, tensor_shape=pb.TensorShapeProto(dim=dims))


def typed(array):
    """As TensorFlow Serving answers by default: values in the field of their type."""
    tensor = from_array(array)
    tensor.tensor_content = b""
    if array.dtype.kind != "O":  # strings are in their field already
        getattr(tensor, {"f": "float_val", "i": "int64_val"}[array.dtype.kind]).extend(
            array.ravel().tolist()
        )
    return tensor


def column(value):
    if value and isinstance(value[0], dict):
        decoded = np.empty(len(value), dtype=object)
        decoded[:] = [base64.b64decode(each["b64"]) for each in value]
        return decoded
    return np.asarray(value)


def rest_metadata(version, found):
    def tensors(infos):
        return {
            name: {
                "dtype": dtype_name(each.dtype),
                "tensor_shape": {
                    "dim": [
                        {"size": str(-1 if size is None else size), "name": ""}
                        for size in shape_of(each.tensor_shape)
                    ],
                    "unknown_rank": False,
                },
                "name": name,
            }
            for name, each in infos.items()
        }

    signatures = {
        name: {"inputs": tensors(each.inputs), "outputs": tensors(each.outputs), "method_name": ""}
        for name, each in found.signature_def.items()
    }
    return {
        "model_spec": {"name": "kmnist", "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
