"""The names of the models of a server, as far as they can be found."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3

from kmnist.client import Client
from kmnist.errors import ClientError

__all__ = ["find_models"]

_SECONDS: Final = 2.0
_MAX_BYTES: Final = 2**20
_MAX_NAMES: Final = 100

# The embedded server publishes the name of its model for the drawing page.
_MODEL_PATH: Final = "/model.json"
# TensorFlow Serving's metrics have names of models and paths of versions, such as /models/kmnist/1.
_METRICS_PATH: Final = "/monitoring/prometheus/metrics"
_METRICS: Final = re.compile(r'model_name="([^"/:]+)"|model_path="[^"]*?([^"/]+)/+\d+"')


def find_models(url: str, candidates: Iterable[str] = (), **client_arguments: Any) -> list[str]:
    """Find the names of the models of a server.

    Neither API of TensorFlow Serving lists its models. Names are taken from ``candidates`` and, if
    the REST port can be reached, from the drawing page of the embedded server and from the metrics
    of TensorFlow Serving, which publishes them if a monitoring configuration enables it. A status
    request for each name then tests whether the server has the model.

    Args:
        url: The address of the server. For a gRPC address, the REST port is assumed to be the next
            port, as in 8500 and 8501, of the same host.
        candidates: Names that the server may have.
        client_arguments: Arguments of the client that sends the status requests.

    Returns:
        The names of models that the server has, in the order of their sources. The server may have
        others.
    """
    names = dict.fromkeys([*candidates, *_published_names(url)])
    return [name for name in list(names)[:_MAX_NAMES] if _has_model(url, name, client_arguments)]


def _has_model(url: str, name: str, client_arguments: dict[str, Any]) -> bool:
    try:
        with Client(url, model=name, **client_arguments, timeout=_SECONDS) as client:
            client.status()
    except ClientError:
        return False
    return True


def _published_names(url: str) -> Iterator[str]:
    """Yield the names that the REST port publishes beside the API."""
    base = _rest_url(url)
    try:
        name = json.loads(_get(base + _MODEL_PATH))["model"]
        if isinstance(name, str):
            yield name
    except (KeyError, TypeError, ValueError):
        pass
    for match in _METRICS.finditer(_get(base + _METRICS_PATH)):
        yield match[1] or match[2]


def _rest_url(url: str) -> str:
    address = urlsplit(url.partition(",")[0])
    if address.scheme in ("http", "https"):
        return url.partition(",")[0].rstrip("/")
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    return f"http://{host}:{(address.port or 8500) + 1}"


def _get(url: str) -> str:
    """Return the body of a page; "" if there is none. Credentials are not sent."""
    try:
        with urllib3.PoolManager(timeout=_SECONDS, retries=False) as pool:
            response = pool.request("GET", url, preload_content=False, redirect=False)
            return response.read(_MAX_BYTES).decode() if response.status == 200 else ""
    except (urllib3.exceptions.HTTPError, ValueError):
        return ""
