"""Examination of a running server, over gRPC or REST."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kmnist.client import Client
from kmnist.doctor.load_checks import explain_failure
from kmnist.doctor.model_names import find_models
from kmnist.doctor.report import Check, Finding, Report
from kmnist.doctor.signature_checks import compare_signatures
from kmnist.errors import (
    BadAnswerError,
    ClientError,
    DeadlineExceededError,
    InputError,
    InvalidInputError,
    MissingError,
    ModelNotFoundError,
    NotReachableError,
    SignatureNotFoundError,
)
from kmnist.protocol.messages import Signature, VersionStatus
from kmnist.versions import (
    config_path,
    configured_models,
    list_versions,
    read_labels,
    read_model_config,
)

__all__ = ["examine_server"]

_READ_LOG: Final = "read the server's log"
_USE_PORTS: Final = "use grpc:// with port 8500 and http:// with port 8501"


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
        model: The model name; None for the name of ``base`` or, without ``base``, for ``kmnist`` or
            the only model that can be found.
        base: The folder of versions that the server should serve.
        broken: The versions of ``base`` that cannot be loaded, as :func:`examine_folder` reports.
        timeout: Seconds for each request.

    Returns:
        The checks and their findings.

    Raises:
        InvalidInputError: ``url`` is not an address.
    """

    name = model or ("kmnist" if base is None else Path(base).absolute().name)

    def client(version: int | None = None, label: str | None = None) -> Client:
        return Client(url, model=name, version=version, label=label, timeout=timeout, retries=0)

    checks: list[Check] = []
    try:
        with client() as newest:
            states = newest.status()
    except ModelNotFoundError as error:
        found = find_models(url, [] if base is None else configured_models(config_path(base)))
        if model is None and base is None and len(found) == 1:
            return examine_server(url, model=found[0], timeout=timeout)
        checks += [
            Check.of("connection to the server"),
            Check.of("model name", [_wrong_name(error, name, found, base)]),
        ]
        return Report(url, tuple(checks))
    except InvalidInputError:
        raise
    except ClientError as error:
        return Report(
            url, (Check.of("connection to the server", [_no_server(error, url, base, broken)]),)
        )
    checks += [
        Check.of("connection to the server"),
        Check.of("model name"),
        Check.of("available versions", _check_available(states)),
        Check.of("loading of every version", _check_loaded(states)),
    ]
    available = [status.version for status in states if status.is_available]
    if not available:
        return Report(url, tuple(checks))
    signatures: dict[int, Mapping[str, Signature]] = {}
    try:
        for version in available:
            with client(version) as one:
                signatures[version] = one.metadata().signatures
    except ClientError as error:
        unreadable = Finding(
            f"the signatures of version {version} cannot be read: {error}",
            "clients that read them before a prediction, such as kmnist's, fail",
            f"repeat the examination; if the error persists, {_READ_LOG}",
        )
        return Report(url, (*checks, Check.of("signatures of all versions", [unreadable])))
    checks.append(Check.of("signatures of all versions", compare_signatures(signatures)))
    with client() as newest:
        checks.append(
            Check.of("prediction", _check_prediction(newest, signatures[max(signatures)]))
        )
    if base is not None:
        labels = _labels(base)
        answers: dict[str, int | None] = {}
        for label in labels:
            with client(label=label) as labelled:
                try:
                    answers[label] = labelled.metadata().version
                except ClientError:  # the label, or its version, is unknown to the server
                    answers[label] = None
        checks += [
            Check.of("versions of the folder", _check_versions(Path(base), states)),
            Check.of("labels of models.config", _check_labels(base, labels, answers)),
        ]
    return Report(url, tuple(checks))


def _no_server(
    error: ClientError, url: str, base: str | os.PathLike[str] | None, broken: Sequence[int]
) -> Finding:
    what = f"{url}: {error}"
    if isinstance(error, BadAnswerError):
        return Finding(
            what,
            "another program answers on this port; gRPC and REST have different ports, and a proxy "
            "may be in front of the server",
            f"{_USE_PORTS}; ss -ltnp names the program",
        )
    if isinstance(error, DeadlineExceededError):
        return Finding(
            what,
            "the port accepts connections but does not answer: it is the port of the other API, a "
            "firewall drops the requests, or the server is overloaded",
            f"{_USE_PORTS}; {_READ_LOG}",
        )
    if isinstance(error, NotReachableError) and broken:
        return Finding(
            what,
            f"{_numbers(broken)} of {base} cannot be loaded: TensorFlow Serving then exits at its "
            "start and opens no port",
            "repair or delete it, and start the server again",
        )
    if isinstance(error, NotReachableError):
        why = (
            "the server is down, or still loading its first version: until then it opens no port, "
            "and without a version it waits indefinitely"
        )
        do = "look at docker compose ps and docker compose logs serving"
        if base is None:
            why = f"a broken version ended its start; or {why}"
            do = f"examine the folder of versions with kmnist doctor; then {do}"
        return Finding(what, why, do)
    return Finding(what, "the server refused the status request", _READ_LOG)


def _wrong_name(
    error: ClientError, model: str, found: Sequence[str], base: str | os.PathLike[str] | None
) -> Finding:
    do = "use the name from there, or change it there"
    if found:
        do = f"use the name of a model that it has: {', '.join(found)}; or change it there"
    elif base is not None and (name := Path(base).absolute().name) != model:
        do = f"use {name}, the name of the folder"
    return Finding(
        f"the server has no model {model}: {error.detail or error}",
        "the server takes the name from models.config, or from its settings model_name or "
        "MODEL_NAME, not from the folder",
        do,
    )


def _check_available(states: Sequence[VersionStatus]) -> Iterator[Finding]:
    if not any(status.is_available for status in states):
        listed = ", ".join(f"version {status.version} is {status.state}" for status in states)
        yield Finding(
            f"no version is AVAILABLE: {listed or 'there is none'}",
            "the server refuses every request for the model",
            "wait while a version is LOADING; otherwise follow the next check, or publish a "
            "version with kmnist-train",
        )


def _check_loaded(states: Sequence[VersionStatus]) -> Iterator[Finding]:
    for status in states:
        if status.error_code not in ("OK", "") or (status.state == "END" and status.error_message):
            message = status.error_message or status.error_code
            why, do = explain_failure(f"{status.error_code} {message}") or (
                "TensorFlow failed to load it",
                _READ_LOG,
            )
            yield Finding(f"version {status.version} cannot be loaded: {message}", why, do)
        elif status.state in ("START", "LOADING"):
            yield Finding(
                f"version {status.version} is still {status.state}",
                "it is large, or its folder is empty or still being copied",
                "repeat the examination; if the state persists, examine the folder of versions "
                "with kmnist doctor",
                is_problem=False,
            )


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
        yield Finding(
            f"the prediction of a blank image failed: {error}",
            "the version is loaded, but memory, threads or the batching parameters do not suffice",
            _READ_LOG,
        )


def _labels(base: str | os.PathLike[str]) -> Mapping[str, int]:
    try:
        return read_labels(base)
    except InputError:
        return {}


def _check_versions(base: Path, states: Sequence[VersionStatus]) -> Iterator[Finding]:
    existing = list_versions(base)
    try:
        wanted = read_model_config(config_path(base), base.absolute().name).policy.choose(existing)
    except (MissingError, InputError):
        wanted = existing[-1:]
    known = {status.version for status in states}
    missing = sorted(set(wanted) - known)
    if missing:
        yield Finding(
            f"the server does not list {_numbers(missing)} of {base}",
            "it serves another folder, polls too rarely, or its models.config selects other "
            "versions",
            "compare the mount and base_path with the folder; the server's setting "
            "file_system_poll_wait_seconds must not be 0",
        )
    served = {status.version for status in states if status.is_available}
    gone = sorted(served - set(existing))
    if gone:
        yield Finding(
            f"the server serves {_numbers(gone)}, which {base} does not contain",
            "it serves another folder, or versions were deleted just now",
            "compare the mount and base_path with the folder",
            is_problem=bool(missing),
        )


def _check_labels(
    base: str | os.PathLike[str], labels: Mapping[str, int], answers: Mapping[str, int | None]
) -> Iterator[Finding]:
    for label, version in sorted(labels.items()):
        answer = answers[label]
        if answer != version:
            served = (
                "unknown to the server" if answer is None else f"version {answer} on the server"
            )
            yield Finding(
                f"the label {label} is version {version} in {config_path(base)}, but {served}",
                "the server has not re-read the file, or reads another one, or the version is not "
                "AVAILABLE: labels move only to available versions",
                "wait for the next poll; otherwise start TensorFlow Serving with "
                "--model_config_file, --model_config_file_poll_wait_seconds=10 and "
                "--allow_version_labels_for_unavailable_models, and mount the folder of the file, "
                "not the file",
            )


def _numbers(versions: Sequence[int]) -> str:
    return ("version " if len(versions) == 1 else "versions ") + ", ".join(map(str, versions))
