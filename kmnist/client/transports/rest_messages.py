"""What both REST transports share: paths, JSON bodies, and what a failed request means."""

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
from kmnist.client.failures import brief, failure, not_reached, tls_failed
from kmnist.errors import BadAnswerError, ClientError, InvalidInputError
from kmnist.protocol.metadata import Metadata, Signature, TensorSpec, VersionStatus
from kmnist.protocol.model_spec import ModelSpec, Outputs

__all__ = [
    "JSON",
    "acknowledge_at_once",
    "answer",
    "connection_lost",
    "cut_off",
    "metadata",
    "not_http",
    "outputs",
    "path",
    "predict_body",
    "statuses",
    "tls_context",
]

JSON: Final = {"content-type": "application/json", "accept": "application/json"}
_INTERNAL_SIGNATURE: Final = "__saved_model_init_op"
_DTYPES: Final = {"i": np.int64, "f": np.float32, "b": np.bool_}


def tls_context(address: Address) -> ssl.SSLContext | None:
    """The TLS context of an address; None where it is not encrypted."""
    if address.tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=address.tls.ca)
        if address.tls.certificate is not None:
            context.load_cert_chain(address.tls.certificate, address.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(
            f"cannot use the TLS files: {error}; expected readable PEM files"
        ) from None
    return context


def path(address: Address, spec: ModelSpec, verb: str = "") -> str:
    """``/v1/models/NAME``, ``…/versions/N`` or ``…/labels/L``, and the verb or ``/metadata``."""
    place = f"{address.path}/v1/models/{quote(spec.name, safe='')}"
    if spec.version is not None:
        place += f"/versions/{spec.version}"
    elif spec.label is not None:
        place += f"/labels/{quote(spec.label, safe='')}"
    return place + verb


def predict_body(signature: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """A request in column form, which is more compact than row form."""
    columns = ",".join(f"{json.dumps(name)}:{_column(values)}" for name, values in inputs.items())
    return f'{{"signature_name":{json.dumps(signature)},"inputs":{{{columns}}}}}'.encode()


def answer(status: int, content_type: str, body: bytes) -> Any:
    """The JSON of an answer.

    Raises:
        ClientError: The server refused or failed, or the answer is not JSON.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if status == 200 and isinstance(parsed, dict) and "error" not in parsed:
        return parsed
    if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
        # The server may fail after it has sent 200: then the body still tells.
        raise failure(500 if status == 200 else status, parsed["error"])
    if status in (200, 404) or 300 <= status < 400:
        raise BadAnswerError(_strange(status, content_type, body), detail=_text(body))
    raise failure(status, _text(body))


def outputs(parsed: Mapping[str, Any]) -> Outputs:
    """The tensors of an answer in column form.

    Raises:
        BadAnswerError: They are missing, ragged, or of no known type.
    """
    if not isinstance(parsed.get("outputs"), dict):
        raise BadAnswerError(f"expected an answer with 'outputs', received {_keys(parsed)}")
    return Outputs({name: _array(name, value) for name, value in parsed["outputs"].items()})


def metadata(parsed: Mapping[str, Any]) -> Metadata:
    """The signatures of an answer.

    Raises:
        BadAnswerError: They are missing or not as TensorFlow Serving writes them.
    """
    try:
        found = parsed["metadata"]["signature_def"]["signature_def"]
        signatures = {
            name: Signature(_specs(value["inputs"]), _specs(value["outputs"]))
            for name, value in found.items()
            if name != _INTERNAL_SIGNATURE
        }
        return Metadata(int(parsed["model_spec"]["version"]), signatures)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadAnswerError(
            f"the server's metadata cannot be read: received {_keys(parsed)}"
        ) from None


def statuses(parsed: Mapping[str, Any]) -> Sequence[VersionStatus]:
    """The states of an answer.

    Raises:
        BadAnswerError: They are missing or not as TensorFlow Serving writes them.
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
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadAnswerError(
            f"the server's status cannot be read: received {_keys(parsed)}"
        ) from None


def cut_off(error: Exception) -> BadAnswerError:
    """An answer that ended before its end; asking again is safe and often helps."""
    return BadAnswerError(f"the answer was cut off: {error}", detail=str(error), retryable=True)


def not_http(line: str) -> ClientError:
    """What something else than HTTP on the port means."""
    if "\x15\x03" in line or "\\x15\\x03" in line:  # a TLS alert
        return tls_failed("the port speaks TLS, the address does not (use https://)")
    return BadAnswerError(
        f"the port does not speak HTTP: received {brief(repr(line), 80)}; check scheme and port "
        "(gRPC is usually 8500, REST 8501)"
    )


def connection_lost(error: BaseException, host: Host) -> ClientError:
    """What a connection that failed, or ended before an answer, means."""
    chain = [error]
    while inner := _inner(chain[-1]):
        chain.append(inner)
    root = chain[-1]
    if any("SSL" in type(each).__name__ or "Certificate" in type(each).__name__ for each in chain):
        return tls_failed(f"{host}: {root}")
    number = getattr(root, "errno", None) or 0
    return not_reached(f"{host}: {os.strerror(number) if number > 0 else root}")


def acknowledge_at_once(connection: socket.socket | None) -> None:
    """Spare the answer the wait for a delayed acknowledgement.

    TensorFlow Serving writes its answer in small segments and waits for the first to be
    acknowledged, which Linux delays by 40 ms on a connection that also sends. The kernel falls
    back to that by itself, so this is called around every request.
    """
    if connection is not None and hasattr(socket, "TCP_QUICKACK"):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:
            return  # a connection that is gone fails when it is read


def _inner(error: BaseException) -> BaseException | None:
    """What an error was made from: urllib3 and aiohttp wrap what the system said."""
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
        raise BadAnswerError(f"output {name!r} of the answer is ragged") from None
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind not in _DTYPES:
        raise BadAnswerError(f"output {name!r} of the answer is {array.dtype}, expected numbers")
    return array.astype(_DTYPES[array.dtype.kind])


def _specs(found: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(str(spec["dtype"]), _shape(spec.get("tensor_shape", {})))
        for name, spec in found.items()
    }


def _shape(found: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if found.get("unknown_rank"):
        return None
    sizes = [int(dim["size"]) for dim in found.get("dim", [])]  # int64 is a string in JSON
    return tuple(None if size < 0 else size for size in sizes)


def _strange(status: int, content_type: str, body: bytes) -> str:
    kind = content_type.partition(";")[0] or "no content type"
    return (
        f"expected JSON from TensorFlow Serving, received HTTP {status} with {len(body):,} bytes "
        f"of {kind}: {brief(_text(body), 80)!r}; is a proxy, or another service, at this address?"
    )


def _keys(parsed: Mapping[str, Any]) -> str:
    return brief(repr(sorted(parsed)), 80)


def _text(body: bytes) -> str:
    return body[:10_000].decode(errors="replace")
