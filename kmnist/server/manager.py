"""Which versions are loaded, and which of them a request gets.

The rules are TensorFlow Serving's. The folder is looked at each second; a new version is loaded
and warmed up beside the old one, then takes over in one step; the old one is freed when the last
request that holds it has ended. While no wanted version is available, the last one that was stays.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from kmnist.errors import KmnistError, MissingError
from kmnist.protocol import serving_pb2 as pb
from kmnist.server.serving_error import ServingError, invalid
from kmnist.versions import VersionPolicy, config_path, list_versions, read_model_config

__all__ = ["Manager"]

State = pb.ModelVersionStatus.State
_log = logging.getLogger(__name__)


@dataclass
class _Version:
    """Where a version is on its way from START to END."""

    number: int
    state: Any = State.START
    error: ServingError | None = None
    servable: Any = None
    users: int = 0
    failed_on: object = field(default=None, repr=False)


class Manager:
    """The versions of one model.

    Args:
        base: The folder that holds the version folders.
        name: What requests call the model.
        load: Makes the servable of a version folder.
        loaded: Told of every attempt to load: the folder, the error if any, the seconds it took.
    """

    def __init__(
        self,
        base: Path,
        name: str,
        load: Callable[[Path], Any],
        loaded: Callable[[Path, ServingError | None, float], None] = lambda *_: None,
    ) -> None:
        self.base = base
        self.name = name
        self._load = load
        self._loaded = loaded
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}
        self._labels: Mapping[str, int] = {}
        self._policy = VersionPolicy()
        self._complaint = ""

    @contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Any]:
        """The servable that a request names, which stays loaded for the length of the block.

        Raises:
            ServingError: there is no such model, version or label, or it is not available.
        """
        with self._lock:
            found = self._find(name, version, label)
            found.users += 1
        try:
            yield found.servable
        finally:
            with self._lock:
                found.users -= 1
                idle = found.state == State.UNLOADING and not found.users
            if idle:
                self._free(found)

    def status(self, name: str, version: int | None = None) -> pb.GetModelStatusResponse:
        """The state of every version seen so far, newest first, or of one.

        Raises:
            ServingError: nothing is known of such a model or version.
        """
        with self._lock:
            known = self._versions if name == self.name else {}
            if version is not None and version not in known:
                raise _not_found(f"Could not find version {version} of model {name}")
            if not known:
                raise _not_found(f"Could not find any versions of model {name}")
            numbers = sorted(known, reverse=True) if version is None else [version]
            return pb.GetModelStatusResponse(
                model_version_status=[_version_status(known[number]) for number in numbers]
            )

    def available(self) -> list[int]:
        """The versions that answer, ascending."""
        with self._lock:
            return self._available()

    def failures(self) -> dict[int, str]:
        """Why each version could not be loaded; empty while there is hope for one of them."""
        with self._lock:
            versions = self._versions.values()
            if any(version.state != State.END for version in versions):
                return {}
            return {v.number: v.error.message for v in versions if v.error}

    def poll(self) -> None:
        """Looks at the folder and the configuration once, and does what they ask for."""
        try:
            self._read_config()
            wanted = self._policy.choose(list_versions(self.base))
        except (KmnistError, OSError) as error:
            self._complain(str(error))
            return
        for number in reversed(wanted):  # the newest answers first
            self._bring_up(number)
        with self._lock:
            available = self._available()
            if wanted and not set(wanted) & set(available):
                return
            dropped = [self._versions[number] for number in available if number not in wanted]
            for version in dropped:
                version.state = State.UNLOADING
            idle = [version for version in dropped if not version.users]
        for version in idle:
            self._free(version)

    def close(self) -> None:
        """Frees every version that no request holds."""
        with self._lock:
            versions = [self._versions[number] for number in self._available()]
            for version in versions:
                version.state = State.UNLOADING
            idle = [version for version in versions if not version.users]
        for version in idle:
            self._free(version)

    def _find(self, name: str, version: int | None, label: str | None) -> _Version:
        """The caller holds the lock."""
        if label is not None:
            labels = self._labels if name == self.name else {}
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = labels[label]
        if name == self.name:
            if version is None:
                version = max(self._available(), default=None)
            found = self._versions.get(version) if version is not None else None
            if found is not None and found.state == State.AVAILABLE:
                return found
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise _not_found(f"Servable not found for request: {wanted}")

    def _available(self) -> list[int]:
        """The caller holds the lock."""
        return sorted(v.number for v in self._versions.values() if v.state == State.AVAILABLE)

    def _read_config(self) -> None:
        path = config_path(self.base)
        try:
            config = read_model_config(path, self.base.name)
        except MissingError:
            self._labels, self._policy = {}, VersionPolicy()
        else:
            self._labels, self._policy = config.labels, config.policy
        self._complaint = ""

    def _complain(self, complaint: str) -> None:
        """Once for each cause, not each second."""
        if complaint != self._complaint:
            _log.warning("%s; what was read before stays in force", complaint)
            self._complaint = complaint

    def _bring_up(self, number: int) -> None:
        folder = self.base / str(number)
        with self._lock:
            version = self._versions.setdefault(number, _Version(number))
            if version.state in (State.AVAILABLE, State.UNLOADING):
                return
        contents = _contents(folder)
        if version.failed_on == contents:
            return
        version.state = State.LOADING
        if not any(name.startswith("saved_model.pb") for name, *_ in contents):
            # Somebody is still copying it. Like TensorFlow Serving: neither loaded nor failed.
            return
        _log.info("loading version %d of %s", number, self.name)
        started = time.perf_counter()
        servable, error = None, None
        try:
            servable = self._load(folder)
        except Exception as reason:  # noqa: BLE001 - a broken model must not stop the server
            error = reason if isinstance(reason, ServingError) else _internal(reason)
            _log.error("version %d of %s cannot be loaded: %s", number, self.name, error)
        with self._lock:
            version.servable, version.error = servable, error
            version.failed_on = contents if error else None
            version.state = State.END if error else State.AVAILABLE
        seconds = time.perf_counter() - started
        self._loaded(folder, error, seconds)
        if not error:
            _log.info("version %d of %s answers, %.1f s", number, self.name, seconds)

    def _free(self, version: _Version) -> None:
        servable, version.servable = version.servable, None
        servable.close()
        with self._lock:
            version.state = State.END
        _log.info("version %d of %s unloaded", version.number, self.name)


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _internal(reason: Exception) -> ServingError:
    return ServingError(grpc.StatusCode.INTERNAL, f"{type(reason).__name__}: {reason}")


def _version_status(version: _Version) -> pb.ModelVersionStatus:
    error = version.error
    return pb.ModelVersionStatus(
        version=version.number,
        state=version.state,
        status=pb.StatusProto(error_code=error.code.value[0], error_message=error.message)
        if error
        else pb.StatusProto(),
    )


def _contents(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file: what has to change before a failed load is tried again."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                stat = os.stat(path)
            except OSError:  # gone again
                continue
            found.append((os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns))
    return sorted(found)
