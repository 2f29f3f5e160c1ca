"""REST: the transports of :class:`kmnist.client.Client` and :class:`kmnist.client.AsyncClient`.

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

# ruff: noqa: ASYNC109 - the timeout is part of a transport's interface

import asyncio
import contextlib
import json
import os
import socket
import ssl
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from google.protobuf.json_format import ParseDict, ParseError
from numpy.typing import NDArray

from kmnist.client.address import TLS, Address
from kmnist.client.answers import read_statuses
from kmnist.client.failures import brief, closed, failure, not_reached
from kmnist.errors import (
    BadAnswerError,
    ClientError,
    DeadlineExceededError,
    InputError,
    InvalidInputError,
)
from kmnist.protocol import serving_pb2 as pb
from kmnist.protocol.json import to_array
from kmnist.protocol.messages import (
    Metadata,
    ModelSpec,
    Outputs,
    Request,
    TensorSpec,
    VersionStatus,
    read_signatures,
)

if TYPE_CHECKING:  # either is loaded by the transport that needs it
    import aiohttp
    import urllib3

__all__ = ["AsyncRestTransport", "RestTransport"]

_HEADERS: Final = {"content-type": "application/json", "accept": "application/json"}
_CHUNK_BYTES: Final = 1 << 16
_Reader = Callable[[dict[str, Any]], Any]


class _Rest(ABC):
    """What both transports share: paths, bodies, and the reading of answers.

    Args:
        address: The server, the prefix of its paths, and TLS settings.
        headers: Headers of every request.
    """

    sends_bytes_best = True

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address = address
        self._headers = {**_HEADERS, **headers}
        self._context = None if address.tls is None else _tls_context(address.tls)
        self._server_name = None if address.tls is None else address.tls.server_name
        self._closed = False

    def predict(self, request: Request, timeout: float) -> Any:
        """Send a predict request."""
        read = partial(_outputs, request=request)
        path = self._path(request.spec, ":predict")
        return self._send(path, _predict_body(request), timeout, read)

    def metadata(self, spec: ModelSpec, timeout: float) -> Any:
        """Return the signatures of a version."""
        return self._send(self._path(spec, "/metadata"), None, timeout, _metadata)

    def status(self, spec: ModelSpec, timeout: float) -> Any:
        """Return the states of all versions, or of ``spec.version``."""
        return self._send(self._path(spec), None, timeout, _statuses)

    @abstractmethod
    def _send(self, path: str, body: bytes | None, timeout: float, read: _Reader) -> Any:
        """Send a request; return what ``read`` makes of the JSON object in the answer."""

    def _path(self, spec: ModelSpec, suffix: str = "") -> str:
        start = f"{self._address.path}/v1/models/{quote(spec.name, safe='')}"
        if spec.version is not None:
            start += f"/versions/{spec.version}"
        elif spec.label is not None:
            start += f"/labels/{quote(spec.label, safe='')}"
        return start + suffix

    def _read(self, read: _Reader, status: int, body: bytes) -> Any:
        parsed = _answer(status, body)
        try:
            return read(parsed)
        except (KeyError, TypeError, ValueError, AttributeError, ParseError) as error:
            raise BadAnswerError(f"cannot read the answer: {brief(repr(error))}") from None

    def _failed(self, error: Exception, timeout: float) -> ClientError:
        """Return the error for an exception of urllib3 or aiohttp, which wrap what happened."""
        if self._closed:
            return closed()
        host = self._address.host
        chain: list[BaseException] = [error]
        while inner := chain[-1].__cause__ or chain[-1].__context__:
            chain.append(inner)
        root = chain[-1]
        number = getattr(root, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else str(root)
        # The network's own time-out has a number.
        if any(isinstance(each, TimeoutError) and not each.errno for each in chain):
            return DeadlineExceededError(
                f"no answer from {host} within {timeout:.3g} s: allow more time or send less"
            )
        if any(isinstance(each, ssl.SSLError) for each in chain):
            return not_reached(host, str(root), by_tls=True)
        if any(type(each).__name__ in ("BadStatusLine", "ClientResponseError") for each in chain):
            if "\\x15\\x03" in repr(root):  # a TLS alert
                return not_reached(host, "the address has to be https://", by_tls=True)
            return failure("UNIMPLEMENTED", f"it is not HTTP: {reason}", host)
        return not_reached(host, reason)


class RestTransport(_Rest):
    """A :class:`kmnist.client.calls.Transport` over a pool of HTTP connections. Thread-safe."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        import urllib3

        super().__init__(address, headers)
        tls: dict[str, Any] = {}
        if self._context is not None:
            tls = {"ssl_context": self._context, "server_hostname": self._server_name}
        url = f"{address.scheme}://{address.host}"
        # More threads than that open and close connections of their own.
        self._pool = urllib3.connection_from_url(url, maxsize=64, **tls)

    def close(self) -> None:
        """Close the idle connections. Requests in progress finish normally."""
        self._closed = True
        self._pool.close()

    def _send(self, path: str, body: bytes | None, timeout: float, read: _Reader) -> Any:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        if self._closed:
            raise closed()
        end = time.monotonic() + timeout
        try:
            response = self._pool.urlopen(
                "GET" if body is None else "POST",
                path,
                body,
                self._headers,
                retries=False,
                redirect=False,
                timeout=Timeout(total=timeout),
                preload_content=False,
            )
            with response:
                content = _read(response, end)
        except (HTTPError, OSError) as error:
            raise self._failed(error, timeout) from None
        return self._read(read, response.status, content)


class AsyncRestTransport(_Rest):
    """An asyncio :class:`kmnist.client.calls.Transport` over a pool of HTTP connections.

    It belongs to the event loop of the first call.
    """

    _session: "aiohttp.ClientSession | None" = None

    async def close(self) -> None:
        """Close all connections. Requests in progress raise ClosedError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _send(self, path: str, body: bytes | None, timeout: float, read: _Reader) -> Any:
        import aiohttp
        from yarl import URL

        if self._closed:
            raise closed()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._context or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        # Encoded already: a "%2F" in a model's name must not become a slash.
        url = URL(f"{self._address.scheme}://{self._address.host}{path}", encoded=True)
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(
                    "GET" if body is None else "POST",
                    url,
                    data=body,
                    headers=self._headers,
                    allow_redirects=False,
                    server_hostname=self._server_name,
                ) as response,
            ):
                content = await _read_async(response)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._failed(error, timeout) from None
        return self._read(read, response.status, content)


def _tls_context(tls: TLS) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"cannot use the TLS files, which must be PEM: {error}") from None
    return context


def _predict_body(request: Request) -> bytes:
    """Return the body of a predict request, in the column format, which is the more compact one."""
    columns = ",".join(
        f"{json.dumps(name)}:{_column(name, values)}" for name, values in request.inputs.items()
    )
    name = json.dumps(request.signature_name)
    return f'{{"signature_name":{name},"inputs":{{{columns}}}}}'.encode()


def _column(name: str, values: NDArray[Any]) -> str:
    if values.dtype.kind == "c":
        raise InvalidInputError(f"input {name!r} of {values.dtype} has no JSON form: use gRPC")
    if values.dtype != object:
        return json.dumps(values.tolist(), separators=(",", ":"))
    return _strings(values.tolist())


def _strings(nested: Any) -> str:
    if isinstance(nested, bytes):
        return f'{{"b64":"{b64encode(nested).decode()}"}}'
    return f"[{','.join(map(_strings, nested))}]"


def _read(response: "urllib3.BaseHTTPResponse", end: float) -> bytes:
    """Read the body until a point in time, however little each part holds."""
    content = bytearray()
    connection = getattr(response.connection, "sock", None)
    _acknowledge(connection)
    while part := response.read1(_CHUNK_BYTES):
        content += part
        _acknowledge(connection)
        if time.monotonic() > end:
            raise TimeoutError
    return bytes(content)


async def _read_async(response: "aiohttp.ClientResponse") -> bytes:
    """Read the body."""
    content = bytearray()
    transport = getattr(response.connection, "transport", None)
    connection = None if transport is None else transport.get_extra_info("socket")
    _acknowledge(connection)
    async for part in response.content.iter_any():
        content += part
        _acknowledge(connection)
    return bytes(content)


def _acknowledge(connection: "socket.socket | None") -> None:
    """Acknowledge at once what a connection has received.

    TensorFlow Serving sends an answer in small segments and waits until the first is acknowledged,
    which Linux delays by 40 ms on a connection that also sends.
    """
    if connection is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):  # a lost connection fails when it is read
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _answer(status: int, body: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        ClientError: The request failed, or the answer is not a JSON object.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
        # A server that fails after it has sent status 200 has the error in the body only.
        raise failure(500 if status == 200 else status, parsed["error"])
    if status != 200 or not isinstance(parsed, dict):
        raise failure(status, body.decode(errors="replace"))
    return parsed


def _outputs(parsed: dict[str, Any], request: Request) -> Outputs:
    values = parsed["outputs"]
    if len(request.signature.outputs) == 1:  # written without its name
        values = dict.fromkeys(request.signature.outputs, values)
    known = {name: spec for name, spec in request.outputs.items() if name in values}
    return Outputs({name: _array(name, values[name], spec) for name, spec in known.items()})


def _array(name: str, value: Any, spec: TensorSpec) -> NDArray[Any]:
    """Return an output as an array; JSON has neither dtypes nor the shape of what is empty."""
    if spec.array_dtype is None:
        raise ValueError(f"{name} is {spec}")
    array = to_array(name, value, spec.array_dtype)
    if array.size or spec.shape is None or len(spec.shape) == array.ndim:
        return array
    return array.reshape([size or 0 for size in spec.shape])


def _metadata(parsed: dict[str, Any]) -> Metadata:
    definitions = {"signature_def": parsed["metadata"]["signature_def"]["signature_def"]}
    found = ParseDict(definitions, pb.SignatureDefMap(), ignore_unknown_fields=True)
    version = int(parsed["model_spec"]["version"])
    return Metadata(version, read_signatures(found.signature_def))


def _statuses(parsed: dict[str, Any]) -> list[VersionStatus]:
    message = pb.GetModelStatusResponse()
    return read_statuses(ParseDict(parsed, message, ignore_unknown_fields=True))
