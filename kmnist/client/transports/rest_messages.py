"""The part of REST that the blocking and the asyncio transport share: paths, bodies and failures.

Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

import json
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from kmnist.client.address import Address, Host
from kmnist.client.failures import answer_too_large, brief, failure, not_reached, tls_failed
from kmnist.client.tls import TLS
from kmnist.errors import BadAnswerError, ClientError, InvalidInputError
from kmnist.protocol.messages import (
    INIT_SIGNATURE,
    Metadata,
    ModelSpec,
    Outputs,
    Signature,
    TensorSpec,
    VersionStatus,
)

__all__ = [
    "JSON_HEADERS",
    "acknowledge_at_once",
    "answer",
    "check_length",
    "connection_lost",
    "metadata",
    "not_http",
    "outputs",
    "path",
    "predict_body",
    "statuses",
    "tls_context",
    "truncated",
]

JSON_HEADERS: Final = {"content-type": "application/json", "accept": "application/json"}

# Two bytes of JSON, an empty array, take 60 bytes of memory and are slow to parse. In an answer, each
# array holds the probabilities of a row, beside its class and name.
_LEAST_BYTES_PER_ARRAY: Final = 12

# JSON has one type of number; these are the dtypes of the model's outputs.
_DTYPES: Final = {"i": np.int64, "f": np.float32, "b": np.bool_}


def tls_context(tls: TLS) -> ssl.SSLContext:
    """Return the TLS context of a connection.

    Raises:
        InvalidInputError: A file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"cannot use the TLS files: {error}; expected readable PEM files"
        ) from None
    return context


def path(address: Address, spec: ModelSpec, suffix: str = "") -> str:
    """Return the path of a request.

    Args:
        address: The server, whose path is the prefix.
        spec: The model, and its version or label.
        suffix: ``:predict``, ``/metadata``, or nothing for the status.
    """
    start = f"{address.path}/v1/models/{quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{start}/versions/{spec.version}{suffix}"
    if spec.label is not None:
        return f"{start}/labels/{quote(spec.label, safe='')}{suffix}"
    return start + suffix


def predict_body(signature: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the body of a predict request, in the column format, which is the more compact one."""
    columns = ",".join(f"{json.dumps(name)}:{_column(values)}" for name, values in inputs.items())
    return f'{{"signature_name":{json.dumps(signature)},"inputs":{{{columns}}}}}'.encode()


def check_length(length: int, most: int) -> None:
    """Check the number of bytes of an answer, announced or received.

    Raises:
        BadAnswerError: It is greater than ``most``.
    """
    if length > most:
        raise answer_too_large(most)


def answer(status: int, content_type: str, body: bytes) -> Any:
    """Return the JSON object of an answer.

    Raises:
        ClientError: The request failed, or the answer is not a JSON object.
    """
    nested = body.count(b"[") + body.count(b"{")
    if nested > len(body) // _LEAST_BYTES_PER_ARRAY + 1000:
        raise BadAnswerError(
            f"received {nested:,} arrays and objects in {len(body):,} bytes; expected an answer of "
            "TensorFlow Serving"
        )
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if status == 200 and isinstance(parsed, dict) and "error" not in parsed:
        return parsed
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
        # A server that fails after it has sent status 200 reports the error in the body only.
        raise failure(500 if status == 200 else status, parsed["error"])
    if status in (200, 404) or 300 <= status < 400:
        raise BadAnswerError(_not_json(status, content_type, body), detail=_text(body))
    raise failure(status, _text(body))


def outputs(parsed: Mapping[str, Any]) -> Outputs:
    """Read a predict response in the column format.

    Raises:
        BadAnswerError: The outputs are missing, ragged, or of an unexpected type.
    """
    if not isinstance(parsed.get("outputs"), dict):
        raise BadAnswerError(f"received an answer with {_keys(parsed)}; expected 'outputs'")
    return Outputs({name: _array(name, value) for name, value in parsed["outputs"].items()})


def metadata(parsed: Mapping[str, Any]) -> Metadata:
    """Read a metadata response.

    Raises:
        BadAnswerError: It is not TensorFlow Serving's.
    """
    try:
        definitions = parsed["metadata"]["signature_def"]["signature_def"]
        signatures = {
            name: Signature(_specs(definition["inputs"]), _specs(definition["outputs"]))
            for name, definition in definitions.items()
            if name != INIT_SIGNATURE
        }
        return Metadata(int(parsed["model_spec"]["version"]), signatures)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise BadAnswerError(
            f"cannot read the server's metadata: received {_keys(parsed)}"
        ) from None


def statuses(parsed: Mapping[str, Any]) -> Sequence[VersionStatus]:
    """Read a status response.

    Raises:
        BadAnswerError: It is not TensorFlow Serving's.
    """
    try:
        return [
            VersionStatus(
                int(each["version"]),
                str(each["state"]),
                str(each.get("status", {}).get("error_code", "OK")),
                str(each.get("status", {}).get("error_message", "")),
            )
            for each in parsed["model_version_status"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise BadAnswerError(f"cannot read the server's status: received {_keys(parsed)}") from None


def truncated(error: Exception) -> BadAnswerError:
    """Return the error for a truncated answer, as from a server that was stopped."""
    return BadAnswerError(f"the answer is truncated: {error}", detail=str(error), retryable=True)


def not_http(line: str) -> ClientError:
    """Return the error for an answer that is not HTTP.

    Args:
        line: Its first line.
    """
    if "\x15\x03" in line or "\\x15\\x03" in line:  # a TLS alert
        return tls_failed("the port uses TLS, the address does not (use https://)")
    return BadAnswerError(
        f"received {brief(repr(line), 80)}; expected HTTP: check scheme and port (by default 8500 "
        "for gRPC, 8501 for REST)"
    )


def connection_lost(error: BaseException, host: Host) -> ClientError:
    """Return the error for a connection that failed, or was closed before an answer.

    Args:
        error: The exception of urllib3 or aiohttp.
        host: The server.
    """
    chain = [error]
    while inner := _cause(chain[-1]):
        chain.append(inner)
    root = chain[-1]
    if any("SSL" in type(each).__name__ or "Certificate" in type(each).__name__ for each in chain):
        return tls_failed(f"{host}: {root}")
    number = getattr(root, "errno", None) or 0
    return not_reached(f"{host}: {os.strerror(number) if number > 0 else root}")


def acknowledge_at_once(connection: socket.socket | None) -> None:
    """Disable delayed acknowledgements for the next answer.

    TensorFlow Serving sends an answer in small segments and waits until the first is acknowledged,
    which Linux delays by 40 ms on a connection that also sends. The kernel enables the delay again
    by itself, so this is called around every request.
    """
    if connection is not None and hasattr(socket, "TCP_QUICKACK"):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            return  # a lost connection fails when it is read


def _cause(error: BaseException) -> BaseException | None:
    """Return the error that urllib3 or aiohttp wrapped."""
    inner = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return inner if isinstance(inner, BaseException) else None


def _column(values: NDArray[Any]) -> str:
    if values.dtype != object:
        return json.dumps(values.tolist(), separators=(",", ":"))
    encoded = [f'{{"b64":"{b64encode(value).decode()}"}}' for value in values.tolist()]
    return f"[{','.join(encoded)}]"


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.array(value)
    except ValueError:
        raise BadAnswerError(f"received a ragged output {name!r}; expected an array") from None
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind not in _DTYPES:
        raise BadAnswerError(
            f"received output {name!r} as {array.dtype}; expected numbers or strings"
        )
    with np.errstate(over="ignore"):  # such a number becomes infinite
        return array.astype(_DTYPES[array.dtype.kind])


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(str(info["dtype"]), _shape(info.get("tensor_shape", {})))
        for name, info in infos.items()
    }


def _shape(proto: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if proto.get("unknown_rank"):
        return None
    sizes = [int(dim["size"]) for dim in proto.get("dim", [])]  # int64 is a string in JSON
    return tuple(None if size < 0 else size for size in sizes)


def _not_json(status: int, content_type: str, body: bytes) -> str:
    kind = content_type.partition(";")[0] or "no content type"
    return (
        f"received HTTP {status} with {len(body):,} bytes of {kind}: {brief(_text(body), 80)!r}; "
        "expected JSON: check that the address is TensorFlow Serving's, not a proxy's"
    )


def _keys(parsed: Mapping[str, Any]) -> str:
    return brief(repr(sorted(parsed)), 80)


def _text(body: bytes) -> str:
    text = body[:10_000].decode(errors="replace")
    return text if len(body) <= 10_000 else text + "…"
