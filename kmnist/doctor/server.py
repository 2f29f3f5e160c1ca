"""Examination of a running server, over gRPC or REST."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from kmnist.client import Client
from kmnist.doctor.folder import loaded_versions
from kmnist.doctor.report import Finding, Report, compare_signatures, load_failure
from kmnist.errors import (
    BadAnswerError,
    ClientError,
    DeadlineExceededError,
    InputError,
    InvalidInputError,
    ModelNotFoundError,
    NotReachableError,
    SignatureNotFoundError,
)
from kmnist.protocol.messages import Signature, VersionStatus
from kmnist.versions import read_labels

__all__ = ["examine_server"]

_REACHED: Final = "connection and model name"
_USE_PORTS: Final = "use grpc:// with port 8500 and http:// with port 8501"

_BROKEN_START: Final = Finding(
    "{url}: {error}",
    "version {versions} of {base} cannot be loaded: TensorFlow Serving then exits at its start and "
    "opens no port",
    "repair or delete it, and start the server again",
)
# Why a server does not report its versions; the first class that fits applies.
_NO_STATUS: Final = {
    ModelNotFoundError: Finding(
        "the server has no model {name}: {error.detail}",
        "the server takes the name from models.config, or from its settings model_name or "
        "MODEL_NAME, not from the folder",
        "use the name from there, or change it there",
    ),
    BadAnswerError: Finding(
        "{url}: {error}",
        "another program answers on this port; gRPC and REST have different ports, and a proxy may "
        "be in front of the server",
        f"{_USE_PORTS}; ss -ltnp names the program",
    ),
    DeadlineExceededError: Finding(
        "{url}: {error}",
        "the port accepts connections but does not answer: it is the port of the other API, a "
        "firewall drops the requests, or the server is overloaded",
        f"{_USE_PORTS}; read the server's log",
    ),
    NotReachableError: Finding(
        "{url}: {error}",
        "the server is down, or still loading its first version: until then it opens no port, and "
        "it waits indefinitely if there is no version, or exits if one is broken",
        "examine the folder of versions with kmnist doctor, and read the server's log (docker "
        "compose logs serving)",
    ),
    ClientError: Finding(
        "{url}: {error}", "the server refused the request", "read the server's log"
    ),
}
_NOT_AVAILABLE: Final = Finding(
    "no version is AVAILABLE: {states}",
    "the server refuses every request for the model",
    "wait while a version is LOADING; otherwise publish a version that can be loaded",
)
_LOADING: Final = Finding(
    "version {status.version} is still {status.state}",
    "it is large, or its folder is empty or still being copied",
    "wait; if it stays so, examine the folder of versions with kmnist doctor",
    is_problem=False,
)
_NO_PREDICTION: Final = Finding(
    "the prediction of a blank image failed: {error}",
    "the version is loaded, but memory, threads or the batching parameters do not suffice",
    "read the server's log",
)
_NOT_SERVED: Final = Finding(
    "the server does not list version {version} of {base}",
    "it serves another folder, polls too rarely, or its models.config selects other versions",
    "compare the mount and base_path of the server with the folder; its setting "
    "file_system_poll_wait_seconds must not be 0",
)
_OTHER_LABEL: Final = Finding(
    "the label {label} is on version {version} in models.config, but {served} on the server",
    "the server has not read the file since, or reads another one, or the version is not "
    "AVAILABLE: labels move only to available versions",
    "wait for the next poll; otherwise start TensorFlow Serving with --model_config_file, "
    "--model_config_file_poll_wait_seconds=10 and --allow_version_labels_for_unavailable_models, "
    "and mount the folder of the file, not the file",
)


def examine_server(
    url: str,
    *,
    model: str | None = None,
    base: str | os.PathLike[str] | None = None,
    broken: Sequence[int] = (),
    timeout: float = 10.0,
) -> Report:
    """Examine a server and, with ``base``, whether it serves the versions of a folder.

    Args:
        url: The address of the server, such as ``grpc://localhost:8500``.
        model: The model name; by default the name of ``base`` or, without ``base``, ``kmnist``.
        base: The folder of versions that the server should serve.
        broken: The versions of ``base`` that cannot be loaded, as :func:`examine_folder` reports.
        timeout: Seconds for each request.

    Returns:
        The checks and their findings.

    Raises:
        InputError: ``url`` is not an address.
        ClientError: The server stopped answering in the middle of the examination.
    """
    folder = None if base is None else Path(os.path.abspath(base))
    name = model or ("kmnist" if folder is None else folder.name)
    open_client = partial(Client, url, model=name, timeout=timeout, retries=0)
    with open_client() as client:
        try:
            states = client.status()
        except ClientError as error:
            finding = next(row for kind, row in _NO_STATUS.items() if isinstance(error, kind))
            if broken and isinstance(error, NotReachableError):
                finding = _BROKEN_START
            facts = {"url": url, "error": error, "name": name, "base": base}
            finding = finding.about(**facts, versions=", ".join(map(str, broken)))
            return Report(url, {_REACHED: [finding]})
    checks = {_REACHED: [], "loading of every version": [*_check_states(states)]}
    signatures: dict[int, Mapping[str, Signature]] = {}
    available = sorted(status.version for status in states if status.is_available)
    for version in available:
        with open_client(version=version) as client:
            signatures[version] = client.metadata().signatures
            prediction = [*_check_prediction(client, signatures[version])]
    if available:
        checks["signatures of all versions"] = [*compare_signatures(signatures)]
        checks["prediction by the newest version"] = prediction
    if folder is not None:
        checks["versions of the folder"] = [*_check_versions(folder, states)]
        checks["labels of models.config"] = [*_check_labels(folder, open_client)]
    return Report(url, checks)


def _check_states(states: Sequence[VersionStatus]) -> Iterator[Finding]:
    if not any(status.is_available for status in states):
        listed = ", ".join(f"version {status.version} is {status.state}" for status in states)
        yield _NOT_AVAILABLE.about(states=listed or "the server lists none")
    for status in states:
        if status.error_code not in ("OK", ""):
            message = status.error_message or status.error_code
            yield load_failure(f"version {status.version}", message)
        elif status.state in ("START", "LOADING"):
            yield _LOADING.about(status=status)


def _check_prediction(client: Client, signatures: Mapping[str, Signature]) -> Iterator[Finding]:
    """Request the prediction of a blank image if the model takes images."""
    default = signatures.get("serving_default")
    spec = default.inputs.get("images") if default else None
    if spec is None or spec.shape is None or len(spec.shape) != 3 or None in spec.shape[1:]:
        return
    try:
        client.predict(np.zeros((1, *spec.shape[1:]), np.uint8))
    except (InvalidInputError, SignatureNotFoundError):
        return  # a model of another kind
    except ClientError as error:
        yield _NO_PREDICTION.about(error=error)


def _check_versions(base: Path, states: Sequence[VersionStatus]) -> Iterator[Finding]:
    for version in sorted({*loaded_versions(base)} - {status.version for status in states}):
        yield _NOT_SERVED.about(version=version, base=base)


def _check_labels(base: Path, open_client: "partial[Client]") -> Iterator[Finding]:
    try:
        labels = read_labels(base)
    except InputError:
        return  # a finding of the examination of the folder
    for label, version in sorted(labels.items()):
        with open_client(label=label) as client:
            try:
                answer = client.metadata().version
            except ClientError:  # the label, or its version, is unknown to the server
                answer = None
        if answer != version:
            served = "unknown" if answer is None else f"on version {answer}"
            yield _OTHER_LABEL.about(label=label, version=version, served=served)
