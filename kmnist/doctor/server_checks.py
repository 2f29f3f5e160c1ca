"""The diagnosis of a server, over gRPC or REST."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from kmnist.client import Client
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
from kmnist.protocol.metadata import Signature, VersionStatus
from kmnist.versions import config_path, list_versions, read_model_config

__all__ = ["examine_server"]

# What TensorFlow says of a version it could not load → why that is and what to do, first match.
_LOAD_FAILURES: Final = [
    (
        (
            r"op type not registered|mentions attr .* not in|unregistered|producer version|min_consumer"
            r"|custom op"
        ),
        "the server's TensorFlow is older than the model needs",
        (
            "run a newer server, TF_SERVING_TAG=… docker compose up, or export with the TensorFlow of "
            "the server"
        ),
    ),
    (
        r"warm-?up",
        "a request of its warm-up file failed, and with it the load",
        "export it anew, or delete assets.extra/tf_serving_warmup_requests",
    ),
    (
        (
            r"could not find saved_?model|could not find meta graph|no such file|not_?found|read less"
            r"|out of range|truncated|corrupt|data.?loss|checksum|can't parse|failed to find"
        ),
        "a file of it is missing or cut off: it was copied in part",
        (
            "copy it whole under another name that is no number, then rename it; "
            "kmnist doctor FOLDER names the file"
        ),
    ),
    (
        r"permission denied",
        "the server's user may not read it",
        "chmod -R a+rX FOLDER, or run the container as the owner: UID and GID in .env",
    ),
    (
        r"memory|oom|resource_?exhausted",
        "the server has too little memory for it beside the others",
        "raise the limit, or load fewer: kmnist versions prune --keep 2",
    ),
]
_UNKNOWN_FAILURE: Final = ("TensorFlow could not load it", "look into the server's log")


def examine_server(
    url: str,
    *,
    model: str = "kmnist",
    base: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
) -> Report:
    """Examines the model ``model`` of the server at ``url``.

    Args:
        url: ``grpc://``, ``grpcs://``, ``http://`` or ``https://``, a host and a port.
        model: The name the server should serve the model under.
        base: The folder it should serve; if given, what is there is compared with what it serves.
        timeout: Seconds that one answer may take.

    Raises:
        InvalidInputError: ``url`` is no such address.
    """

    def client(version: int | None = None, label: str | None = None) -> Client:
        return Client(url, model=model, version=version, label=label, timeout=timeout, retries=0)

    reached, named = "a server answers", f"it has the model {model}"
    checks: list[Check] = []
    try:
        with client() as newest:
            states = newest.status()
    except ModelNotFoundError as error:
        checks += [Check(reached, ()), Check(named, (_wrong_name(error, model, base),))]
        return Report(url, tuple(checks))
    except InvalidInputError:
        raise
    except ClientError as error:
        return Report(url, (Check(reached, (_no_server(error, url),)),))
    checks += [
        Check(reached, ()),
        Check(named, ()),
        Check.of("a version is AVAILABLE", _available(states)),
        Check.of("every version could be loaded", _loaded(states)),
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
        silent = Finding(
            f"the signatures of version {version} cannot be read: {error}",
            "clients that look at them before they ask, as kmnist's does, fail",
            "ask again; if it stays so, look into the server's log",
        )
        return Report(url, (*checks, Check("it tells its signatures", (silent,))))
    checks.append(Check.of("all versions have the same signatures", compare_signatures(signatures)))
    with client() as newest:
        checks.append(Check.of("it predicts", _predicts(newest, signatures[max(signatures)])))
    if base is not None:
        labels = _labels(base)
        answers: dict[str, int | None] = {}
        for label in labels:
            with client(label=label) as labelled:
                try:
                    answers[label] = labelled.metadata().version
                except ClientError:  # the label, or the version it points at, is unknown
                    answers[label] = None
        checks += [
            Check.of("it serves the versions of the folder", _same(Path(base), states)),
            Check.of("it follows the labels of models.config", _followed(base, labels, answers)),
        ]
    return Report(url, tuple(checks))


def _no_server(error: ClientError, url: str) -> Finding:
    what = f"{url}: {error}"
    if isinstance(error, BadAnswerError):
        return Finding(
            what,
            "the port is another's: gRPC and REST have one each, and a proxy or another program "
            "may have taken it",
            "use grpc:// with port 8500 and http:// with port 8501; ss -ltnp names what listens",
        )
    if isinstance(error, DeadlineExceededError):
        return Finding(
            what,
            "something holds the port and does not answer: the wrong kind of port, a firewall, or "
            "a server with too much to do",
            "use grpc:// with port 8500 and http:// with port 8501; look into the server's log",
        )
    if isinstance(error, NotReachableError):
        return Finding(
            what,
            "the server is down, or loads its first version: it opens its ports only then, and "
            "waits for ever for a folder without one",
            "look at docker compose ps and docker compose logs serving; kmnist doctor FOLDER "
            "examines what it should load",
        )
    return Finding(what, "the server refused to tell its state", "look into the server's log")


def _wrong_name(error: ClientError, model: str, base: str | os.PathLike[str] | None) -> Finding:
    name = Path(base).absolute().name if base is not None else None
    asked = f"ask for {name}, as the folder is called: --model {name}" if name != model else ""
    return Finding(
        f"it does not know {model}: {error.detail or error}",
        "the name is the one in models.config, or --model_name of the server, MODEL_NAME of its "
        "image; the name of the folder does not count",
        asked if name and asked else "ask for that name with --model, or correct it there",
    )


def _available(states: Sequence[VersionStatus]) -> Iterator[Finding]:
    if not any(status.is_available for status in states):
        said = ", ".join(f"version {status.version} is {status.state}" for status in states)
        yield Finding(
            f"no version is AVAILABLE: {said or 'there is none'}",
            "every request for the model is refused, though the server runs",
            "wait if one is LOADING; else see what the next check found, or publish a version: "
            "kmnist-train",
        )


def _loaded(states: Sequence[VersionStatus]) -> Iterator[Finding]:
    for status in states:
        if status.error_code not in ("OK", "") or (status.state == "END" and status.error_message):
            said = status.error_message or status.error_code
            why, do = next(
                (
                    (why, do)
                    for pattern, why, do in _LOAD_FAILURES
                    if re.search(pattern, f"{status.error_code} {said}", re.IGNORECASE)
                ),
                _UNKNOWN_FAILURE,
            )
            yield Finding(f"version {status.version} could not be loaded: {said}", why, do)
        elif status.state in ("START", "LOADING"):
            yield Finding(
                f"version {status.version} is still {status.state}",
                "it is large, or its folder is empty or still being copied",
                "ask again; if it stays so, kmnist doctor FOLDER tells what is missing",
                is_problem=False,
            )


def _predicts(client: Client, signatures: Mapping[str, Signature]) -> Iterator[Finding]:
    """Asks about one blank image, if the model is one that takes images."""
    default = signatures.get("serving_default")
    spec = default.inputs.get("images") if default else None
    if spec is None or spec.shape is None or len(spec.shape) != 3 or None in spec.shape[1:]:
        return
    try:
        client.predict(np.zeros((1, *spec.shape[1:]), np.uint8))
    except (InvalidInputError, SignatureNotFoundError):
        return  # a model of another kind, which has no prediction to ask for
    except ClientError as error:
        yield Finding(
            f"a blank image is not predicted: {error}",
            "the server is loaded and yet fails at its work: too little memory or threads, or the "
            "batching parameters",
            "look into the server's log",
        )


def _labels(base: str | os.PathLike[str]) -> Mapping[str, int]:
    try:
        return read_model_config(config_path(base), Path(base).absolute().name).labels
    except (MissingError, InputError):
        return {}


def _same(base: Path, states: Sequence[VersionStatus]) -> Iterator[Finding]:
    there = list_versions(base)
    try:
        wanted = read_model_config(config_path(base), base.absolute().name).policy.choose(there)
    except (MissingError, InputError):
        wanted = there[-1:]
    known = {status.version for status in states}
    missing = sorted(set(wanted) - known)
    if missing:
        yield Finding(
            f"it knows nothing of {_numbers(missing)} in {base}",
            "it serves another folder, looks for new versions too seldom, or its models.config "
            "asks for others",
            "compare the mount and base_path with the folder; --file_system_poll_wait_seconds must "
            "not be 0",
        )
    served = {status.version for status in states if status.is_available}
    gone = sorted(served - set(there))
    if gone:
        yield Finding(
            f"it serves {_numbers(gone)}, not in {base}",
            "it serves another folder, or the versions were just deleted",
            "compare the mount and base_path with the folder",
            is_problem=bool(missing),
        )


def _followed(
    base: str | os.PathLike[str], labels: Mapping[str, int], answers: Mapping[str, int | None]
) -> Iterator[Finding]:
    for label, version in sorted(labels.items()):
        if answers[label] != version:
            answer = answers[label]
            yield Finding(
                f"the label {label} is version {version} in {config_path(base)}, and "
                + ("unknown to it" if answer is None else f"version {answer} to it"),
                "it has not read the file again, reads another one, or the version is not loaded: "
                "a label moves only to a version that is AVAILABLE",
                "wait for its next look at the file; else start it with --model_config_file, "
                "--model_config_file_poll_wait_seconds=10 and "
                "--allow_version_labels_for_unavailable_models, and mount the folder, not the file",
            )


def _numbers(versions: Sequence[int]) -> str:
    return ("version " if len(versions) == 1 else "versions ") + ", ".join(map(str, versions))
