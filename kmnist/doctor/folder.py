"""Examination of a folder of versions."""

import os
import socket
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from kmnist.client import Client
from kmnist.doctor.report import Finding, Report, compare_signatures, load_failure
from kmnist.errors import ClientError, InputError, MissingError, ModelNotFoundError
from kmnist.protocol.messages import Signature
from kmnist.versions import (
    VersionPolicy,
    config_path,
    list_versions,
    read_model_config,
    version_folder,
)

__all__ = ["examine_folder", "loaded_versions"]

_WAITS: Final = "a server finds no version in it, and waits indefinitely without opening a port"

_NO_VERSION: Final = Finding(
    "there is no {missing}", _WAITS, "train a version with kmnist-train, or correct the path"
)
_IS_VERSION: Final = Finding(
    "{base} is a version, not a folder of versions",
    _WAITS,
    "use the folder above it, {base.parent}, here and for the server",
)
_IS_MODEL: Final = Finding(
    "{base} is a SavedModel, not a folder of versions", _WAITS, "move its content to {base}/1"
)
_HAS_MODELS: Final = Finding(
    "{base} contains models, not versions: {models}", _WAITS, "use the folder of one of them"
)
_NOT_A_NUMBER: Final = Finding(
    "{folder} contains a SavedModel, but its name is not a number",
    "a server ignores it without a message",
    "rename it to {following}, or delete it",
)
_RESTART: Final = Finding(
    "a restart of TensorFlow Serving may fail: it would load the broken version {versions}",
    "it exits if one version fails to load, even if the others are sound; once it runs, it keeps "
    "serving those",
    "repair or delete it before the next restart",
    is_problem=False,
)
_NOT_READABLE: Final = Finding(
    "other users cannot read {paths}",
    "a server in a container usually runs as another user and then cannot load the model",
    "chmod -R a+rX {folder}, or run the container as yourself: UID and GID in .env",
    is_problem=False,
)
_NO_CONFIG: Final = Finding(
    "there is no {path}",
    "docker compose starts TensorFlow Serving with this file; without it, the server exits",
    "create it with kmnist versions label",
    is_problem=False,
)
_NOT_IN_CONFIG: Final = Finding(
    "{path} has no model {name}",
    "a server that is started with it answers 404 to every request for the model",
    "add it with kmnist versions label",
)
_INVALID_CONFIG: Final = Finding(
    "{error}",
    "TensorFlow Serving does not start with it, or keeps the previous configuration",
    "correct it, or delete it and create it with kmnist versions label",
)
_RELATIVE_PATH: Final = Finding(
    "{path} has the relative base_path {model.base_path!r}",
    "TensorFlow Serving does not start with it: the path must be absolute",
    'write the folder as the server sees it: base_path: "/models/{model.name}"',
)
_OTHER_PATH: Final = Finding(
    "{path} has the base_path {model.base_path} for the model {model.name}",
    "the server serves another folder, or waits for it indefinitely",
    'write the folder as the server sees it: base_path: "/models/{model.name}"',
    is_problem=False,
)
_LABEL_WITHOUT_VERSION: Final = Finding(
    "the label {label} is on version {version}, which does not exist",
    "requests for the label are refused, and TensorFlow Serving applies no further changes of "
    "labels",
    "move it to a version that exists: kmnist versions label {label}={newest}",
)
_LABEL_NOT_LOADED: Final = Finding(
    "the label {label} is on version {version}, which the version policy does not load",
    "requests for the label are refused",
    "write model_version_policy {{ all {{}} }} in {path}",
)
_PORT_IN_USE: Final = Finding(
    "port {port} is in use by another program",
    "{api} cannot be served on this port",
    "stop the program, which ss -ltnp 'sport = :{port}' names, or serve on another port (docker "
    "compose: {setting})",
    is_problem=False,
)


def examine_folder(
    base: str | os.PathLike[str], *, grpc_port: int = 8500, rest_port: int = 8501
) -> Report:
    """Examine a folder of versions, its ``models.config``, and the ports of its server.

    Every version is compared with its manifest, if it has one, and loaded, warm-up included, which
    takes seconds for each.

    Args:
        base: The folder of versions.
        grpc_port: The port of this machine for gRPC.
        rest_port: The port of this machine for REST.

    Returns:
        The checks and their findings.

    Raises:
        InputError: ``base`` is a file.
        OSError: ``base`` cannot be read.
    """
    base = Path(os.path.abspath(base))
    versions = list_versions(base)
    layout = [*_check_layout(base, versions)]
    ports = [
        *_check_port(grpc_port, "gRPC", f"grpc://127.0.0.1:{grpc_port}", base.name),
        *_check_port(rest_port, "REST", f"http://127.0.0.1:{rest_port}", base.name),
    ]
    if not versions:
        return Report(str(base), {"folder of versions": layout, "ports": ports})
    signatures, failures = _load(base, versions)
    broken = tuple(version for version in versions if version not in signatures)
    checks = {
        "folder of versions": layout,
        "loading of every version": failures,
        "restart of TensorFlow Serving": [*_check_restart(base, broken)],
        "signatures of all versions": [*compare_signatures(signatures)],
        "file permissions": [*_check_permissions(base, versions)],
        "models.config": [*_check_config(base, versions)],
        "ports": ports,
    }
    return Report(str(base), checks, broken)


def loaded_versions(base: Path) -> list[int]:
    """Return the versions that TensorFlow Serving loads from a folder, ascending.

    Those that the ``models.config`` beside it selects; the newest one without such a file.
    """
    try:
        policy = read_model_config(config_path(base), base.name).policy
    except (MissingError, InputError):
        policy = VersionPolicy()
    return policy.choose(list_versions(base))


def _check_layout(base: Path, versions: Collection[int]) -> Iterator[Finding]:
    """Check whether ``base`` is a folder of versions, not one level too high or too low."""
    models = {path.parent.parent.name for path in base.glob("*/[0-9]*/saved_model.pb")}
    if not base.exists():
        yield _NO_VERSION.about(missing=f"folder {base}")
    elif (base / "saved_model.pb").exists():
        yield (_IS_VERSION if base.name.isdecimal() else _IS_MODEL).about(base=base)
    elif not versions and models:
        yield _HAS_MODELS.about(base=base, models=", ".join(sorted(models)))
    elif not versions:
        yield _NO_VERSION.about(missing=f"version in {base}")
    following = base / str(max(versions, default=0) + 1)
    for file in sorted(base.glob("[!.]*/saved_model.pb")):
        if not file.parent.name.isdecimal():
            yield _NOT_A_NUMBER.about(folder=file.parent, following=following)


def _load(
    base: Path, versions: Collection[int]
) -> tuple[dict[int, dict[str, Signature]], list[Finding]]:
    """Load every version, one after the other.

    Returns:
        The signatures of the versions that can be loaded, and a problem for each of the others.
    """
    from kmnist.server.errors import StatusError
    from kmnist.server.model import LoadedModel

    signatures: dict[int, dict[str, Signature]] = {}
    failures = []
    for version in versions:
        folder = version_folder(base, version)
        try:
            model = LoadedModel(folder)
        except StatusError as error:
            failures.append(load_failure(folder, error.message))
        else:
            signatures[version] = model.signatures
            model.close()
    return signatures, failures


def _check_restart(base: Path, broken: Collection[int]) -> Iterator[Finding]:
    if versions := sorted({*broken} & {*loaded_versions(base)}):
        yield _RESTART.about(versions=", ".join(map(str, versions)))


def _check_permissions(base: Path, versions: Collection[int]) -> Iterator[Finding]:
    # A container gets the parent folder, which contains models.config. Folders above it do not matter.
    candidates = [base.parent, config_path(base), base]
    for version in versions:
        folder = version_folder(base, version)
        candidates += [folder, *folder.rglob("*")]
    closed = [
        str(path) for path in candidates if path.exists() and not _is_readable_by_others(path)
    ]
    if closed:
        paths = ", ".join(closed[:3]) + (" and others" if closed[3:] else "")
        yield _NOT_READABLE.about(paths=paths, folder=base.parent)


def _is_readable_by_others(path: Path) -> bool:
    mode = path.stat().st_mode
    needed = 0o005 if stat.S_ISDIR(mode) else 0o004
    return mode & needed == needed


def _check_config(base: Path, versions: Collection[int]) -> Iterator[Finding]:
    """Check whether the ``models.config`` beside ``base`` fits it."""
    path = config_path(base)
    try:
        model = read_model_config(path, base.name)
    except MissingError:
        yield (_NOT_IN_CONFIG if path.exists() else _NO_CONFIG).about(path=path, name=base.name)
        return
    except InputError as error:
        yield _INVALID_CONFIG.about(error=error)
        return
    if not model.base_path.startswith(("/", "gs://", "s3://")):
        yield _RELATIVE_PATH.about(path=path, model=model)
    elif Path(model.base_path).name != model.name:
        yield _OTHER_PATH.about(path=path, model=model)
    for label, version in sorted(model.labels.items()):
        if version not in versions:
            newest = max(versions)
            yield _LABEL_WITHOUT_VERSION.about(label=label, version=version, newest=newest)
        elif version not in loaded_versions(base):
            yield _LABEL_NOT_LOADED.about(label=label, version=version, path=path)


def _check_port(port: int, api: str, url: str, model: str) -> Iterator[Finding]:
    """Check whether a port of this machine is free, or that of a model server."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return
    try:
        with Client(url, model=model, timeout=5) as client:
            client.status()
    except ModelNotFoundError:
        pass  # a server of another model
    except ClientError:
        yield _PORT_IN_USE.about(port=port, api=api, setting=f"{api.upper()}_PORT")
