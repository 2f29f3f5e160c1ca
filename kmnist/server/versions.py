"""The lifecycle of versions: which are loaded, and which one answers a request.

The rules are TensorFlow Serving's. The folder is polled; a new version is loaded and warmed up
beside the old one and replaces it in one step; the old one is freed when its last request has
ended. As long as none of the wanted versions is available, the last available ones are kept. A load
that hangs, on a network file system for example, delays the others only for a moment.
"""

import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from kmnist.errors import KmnistError, MissingError
from kmnist.protocol import serving_pb2 as pb
from kmnist.server.errors import StatusError, invalid, shortened
from kmnist.versions import (
    VersionPolicy,
    config_path,
    list_versions,
    read_model_config,
    version_folder,
)

__all__ = ["Versions"]

State = pb.ModelVersionStatus.State
# Seconds to wait for a load before the next version is loaded beside it.
_PATIENCE: Final = 20.0
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Version:
    """A version in one of the states from START to END."""

    number: int
    state: Any = State.START
    error: StatusError | None = None
    servable: Any = None
    users: int = 0
    failed_on: object = field(default=None, repr=False)
    load: threading.Thread | None = None

    @property
    def is_loading(self) -> bool:
        return self.load is not None and self.load.is_alive()


class Versions:
    """The versions of one model.

    Attributes:
        base: The folder of versions.
        name: The model name of requests.
    """

    def __init__(
        self,
        base: Path,
        name: str,
        load: Callable[[Path], Any],
        on_load: Callable[[Path, StatusError | None, float], None] = lambda *_: None,
        *,
        stopping: threading.Event | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        """Create the manager; :meth:`poll` loads the versions.

        Args:
            base: The folder of versions.
            name: The model name of requests.
            load: Returns the servable of a version folder.
            on_load: Called after every attempt to load a version, with its folder, the error if
                any, and the duration in seconds.
            stopping: Ends a wait for a load when it is set.
            patience: Seconds to wait for a load before the next version is loaded beside it.
        """
        self.base = base
        self.name = name
        self._load = load
        self._on_load = on_load
        self._stopping = stopping or threading.Event()
        self._patience = patience
        self._lock = threading.Lock()
        self._versions: dict[int, _Version] = {}
        self._labels: Mapping[str, int] = {}
        self._policy = VersionPolicy()
        self._last_warning = ""
        self._closed = False

    @contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Any]:
        """Keep a servable loaded while the block uses it.

        Args:
            name: The model name; an empty one is refused as by TensorFlow Serving.
            version: The version number; None for the newest available version.
            label: The label of the version, instead of its number.

        Yields:
            The servable.

        Raises:
            StatusError: There is no such model, version or label, or it is not available.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
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
        """Return the states of all versions seen so far, newest first, or of one version.

        Raises:
            StatusError: There has been no such model or version.
        """
        with self._lock:
            known = self._versions if name == self.name else {}
            shown = shortened(name)
            if version is not None and version not in known:
                raise _not_found(f"Could not find version {version} of model {shown}")
            if not known:
                raise _not_found(f"Could not find any versions of model {shown}")
            numbers = sorted(known, reverse=True) if version is None else [version]
            return pb.GetModelStatusResponse(
                model_version_status=[_version_status(known[number]) for number in numbers]
            )

    def available(self) -> list[int]:
        """Return the available versions in ascending order."""
        with self._lock:
            return self._available()

    def loading(self) -> bool:
        """Return whether a load is running."""
        with self._lock:
            versions = list(self._versions.values())
        return any(version.is_loading for version in versions)

    def failures(self) -> dict[int, str]:
        """Return the error message of each version; empty if a version may still become available."""
        with self._lock:
            versions = self._versions.values()
            if any(version.state != State.END for version in versions):
                return {}
            return {v.number: v.error.message for v in versions if v.error}

    def poll(self) -> None:
        """Read the folder and ``models.config`` once, and load and unload versions accordingly."""
        try:
            self._read_config()
            wanted = self._policy.choose(list_versions(self.base))
        except (KmnistError, OSError) as error:
            self._warn(str(error))
            return
        for number in reversed(wanted):  # the newest is available first
            self._try_to_load(number)
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
        """Free every version as soon as no request uses it."""
        with self._lock:
            self._closed = True
            versions = [self._versions[number] for number in self._available()]
            for version in versions:
                version.state = State.UNLOADING
            idle = [version for version in versions if not version.users]
        for version in idle:
            self._free(version)

    def _find(self, name: str, version: int | None, label: str | None) -> _Version:
        """Return the version that a request specifies. The caller holds the lock."""
        if label is not None:
            labels = self._labels if name == self.name else {}
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {shortened(label)}")
            version = labels[label]
        if name == self.name:
            if version is None:
                version = max(self._available(), default=None)
            found = self._versions.get(version) if version is not None else None
            if found is not None and found.state == State.AVAILABLE:
                return found
        shown = shortened(name)
        wanted = f"Latest({shown})" if version is None else f"Specific({shown}, {version})"
        raise _not_found(f"Servable not found for request: {wanted}")

    def _available(self) -> list[int]:
        """Return the available versions. The caller holds the lock."""
        return sorted(v.number for v in self._versions.values() if v.state == State.AVAILABLE)

    def _read_config(self) -> None:
        path = config_path(self.base)
        try:
            config = read_model_config(path, self.base.name)
        except MissingError:
            self._labels, self._policy = {}, VersionPolicy()
        else:
            self._labels, self._policy = config.labels, config.policy
        self._last_warning = ""

    def _warn(self, warning: str) -> None:
        """Log a warning, once and not at every poll."""
        if warning != self._last_warning:
            _log.warning("%s; the previous configuration stays in effect", warning)
            self._last_warning = warning

    def _try_to_load(self, number: int) -> None:
        try:
            folder = version_folder(self.base, number)
        except MissingError:  # deleted since the folder was read
            return
        with self._lock:
            version = self._versions.setdefault(number, _Version(number))
            if version.state in (State.AVAILABLE, State.UNLOADING) or version.is_loading:
                return
        try:
            contents = _contents(folder)
        except OSError as reason:
            if version.failed_on != str(reason):
                self._finish(
                    version, folder, None, _unreadable(reason), str(reason), time.perf_counter()
                )
            return
        if version.failed_on == contents:
            return
        if not any(name.startswith("saved_model.pb") for name, *_ in contents):
            # It is still being copied. As in TensorFlow Serving: neither loaded nor failed.
            if version.state != State.LOADING:
                _log.info("version %d of %s has no saved_model.pb yet", number, self.name)
            version.state = State.LOADING
            return
        version.state = State.LOADING
        _log.info("loading version %d of %s", number, self.name)
        version.load = threading.Thread(
            target=self._load_version,
            args=(version, folder, contents),
            name="kmnist-load",
            daemon=True,
        )
        version.load.start()
        self._wait_for(version)

    def _wait_for(self, version: _Version) -> None:
        """Wait until a load has ended, for as long as the patience lasts."""
        end = time.monotonic() + self._patience
        while version.load and version.is_loading and not self._stopping.is_set():
            if time.monotonic() > end:
                _log.warning(
                    "version %d of %s is still loading after %.0f s",
                    version.number,
                    self.name,
                    self._patience,
                )
                return
            version.load.join(0.1)

    def _load_version(self, version: _Version, folder: Path, contents: object) -> None:
        started = time.perf_counter()
        servable, error = None, None
        try:
            servable = self._load(folder)
        except Exception as reason:  # noqa: BLE001 - a broken model must not stop the server
            error = reason if isinstance(reason, StatusError) else _internal(reason)
        self._finish(version, folder, servable, error, contents, started)

    def _finish(
        self,
        version: _Version,
        folder: Path,
        servable: Any,
        error: StatusError | None,
        contents: object,
        started: float,
    ) -> None:
        """Record the result of an attempt to load a version whose folder had these contents."""
        seconds = time.perf_counter() - started
        if error:
            _log.error("version %d of %s cannot be loaded: %s", version.number, self.name, error)
        with self._lock:
            version.servable, version.error = servable, error
            version.failed_on = contents if error else None
            version.state = State.END if error else State.AVAILABLE
            is_late = self._closed and servable is not None
        if is_late:
            self._free(version)
            return
        self._on_load(folder, error, seconds)
        if not error:
            _log.info(
                "version %d of %s is available after %.1f s", version.number, self.name, seconds
            )

    def _free(self, version: _Version) -> None:
        servable, version.servable = version.servable, None
        servable.close()
        with self._lock:
            version.state = State.END
        _log.info("version %d of %s unloaded", version.number, self.name)


def _not_found(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def _internal(reason: Exception) -> StatusError:
    return StatusError(grpc.StatusCode.INTERNAL, f"{type(reason).__name__}: {reason}")


def _version_status(version: _Version) -> pb.ModelVersionStatus:
    error = version.error
    return pb.ModelVersionStatus(
        version=version.number,
        state=version.state,
        status=pb.StatusProto(error_code=error.code.value[0], error_message=error.message)
        if error
        else pb.StatusProto(),
    )


def _unreadable(reason: OSError) -> StatusError:
    return StatusError(
        grpc.StatusCode.PERMISSION_DENIED
        if isinstance(reason, PermissionError)
        else grpc.StatusCode.INTERNAL,
        f"{reason.filename} cannot be read: {reason.strerror}",
    )


def _contents(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of every file; a failed load is retried after they change.

    Raises:
        OSError: A folder or a file cannot be read. A pipe or a device, whose content may never
            come, counts as such.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    found = []
    for parent, _, names in os.walk(folder, onerror=fail):
        for name in names:
            path = os.path.join(parent, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:  # deleted in the meantime
                continue
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", path)
            found.append((os.path.relpath(path, folder), status.st_size, status.st_mtime_ns))
    return sorted(found)
