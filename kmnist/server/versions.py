"""The lifecycle of versions: which are loaded, and which one answers a request.

The rules are TensorFlow Serving's. The folder is polled; a new version is loaded and warmed up
beside the old one and replaces it in one step; the old one is freed when its last request has
ended. As long as none of the wanted versions is available, the last available ones are kept.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from kmnist.errors import KmnistError, MissingError
from kmnist.protocol import serving_pb2 as pb
from kmnist.server.errors import StatusError, invalid, shortened
from kmnist.versions import (
    ModelConfig,
    VersionPolicy,
    config_path,
    list_versions,
    read_model_config,
    version_folder,
)

if TYPE_CHECKING:
    from kmnist.server.model import LoadedModel

__all__ = ["Versions"]

_NO_CONFIG: Final = ModelConfig("", "", VersionPolicy(), {})
State = pb.ModelVersionStatus.State
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Version:
    """A version in one of the states from START to END.

    Attributes:
        model: The loaded model, while the version is AVAILABLE or UNLOADING.
        users: The number of requests that use the model, plus one while it is AVAILABLE.
        error: Why the last attempt to load it failed.
        failed_contents: The contents of its folder at that attempt.
    """

    number: int
    state: State = State.START
    model: "LoadedModel" = field(init=False)
    users: int = 0
    error: StatusError | None = None
    failed_contents: object = None


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
        load: Callable[[Path], "LoadedModel"],
        on_load: Callable[[Path, StatusError | None, float], None] = lambda *_: None,
    ) -> None:
        """Prepare for :meth:`poll`, which loads the versions.

        Args:
            base: The folder of versions.
            name: The model name of requests.
            load: Returns the model of a version folder, or raises a StatusError.
            on_load: Called after every attempt to load a version, with its folder, the error if
                any, and the duration in seconds.
        """
        self.base = base
        self.name = name
        self._load = load
        self._on_load = on_load
        self._lock = threading.RLock()
        self._versions: dict[int, _Version] = {}
        self._config = _NO_CONFIG
        self._last_warning = ""

    @contextmanager
    def use(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator["LoadedModel"]:
        """Keep a model loaded while the block uses it.

        Args:
            name: The model name; an empty one is refused as by TensorFlow Serving.
            version: The version number; None for the newest available version.
            label: The label of the version, instead of its number.

        Yields:
            The model.

        Raises:
            StatusError: There is no such model, version or label, or it is not available.
        """
        if not name:
            raise invalid("ModelSpec has no name specified.")
        with self._lock:
            found = self._find(name, version, label)
            found.users += 1
        try:
            yield found.model
        finally:
            self._release(found)

    def status(self, name: str, version: int | None = None) -> pb.GetModelStatusResponse:
        """Return the states of all versions seen so far, newest first, or of one version.

        Raises:
            StatusError: There has been no such model or version.
        """
        with self._lock:
            known = self._versions if name == self.name else {}
            numbers = sorted(known, reverse=True) if version is None else [version]
            if not numbers or numbers[0] not in known:
                wanted = "any versions" if version is None else f"version {version}"
                raise _not_found(f"Could not find {wanted} of model {shortened(name)}")
            return pb.GetModelStatusResponse(
                model_version_status=[_status(known[number]) for number in numbers]
            )

    def available(self) -> list[int]:
        """Return the available versions in ascending order."""
        with self._lock:
            return sorted(v.number for v in self._versions.values() if v.state == State.AVAILABLE)

    def failures(self) -> dict[int, str]:
        """Return the error message of each version; empty if a version may still become available."""
        with self._lock:
            versions = self._versions.values()
            if any(version.state != State.END for version in versions):
                return {}
            return {v.number: v.error.message for v in versions if v.error}

    def poll(self) -> None:
        """Read the folder and ``models.config`` once, and load and unload versions accordingly.

        Returns after every load has ended. One thread may poll at a time.
        """
        try:
            self._read_config()
            wanted = self._config.policy.choose(list_versions(self.base))
        except (KmnistError, OSError) as error:
            if str(error) != self._last_warning:  # once and not at every poll
                _log.warning("%s; the previous configuration stays in effect", error)
            self._last_warning = str(error)
            return
        for number in reversed(wanted):  # the newest is available first
            self._try_to_load(number)
        available = self.available()
        if not wanted or set(wanted) & set(available):
            self._unload(set(available) - set(wanted))

    def close(self) -> None:
        """Free every version as soon as no request uses it."""
        self._unload(self.available())

    def _find(self, name: str, version: int | None, label: str | None) -> _Version:
        """Return the version that a request specifies. The caller holds the lock."""
        if label is not None:
            labels = self._config.labels if name == self.name else {}
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {shortened(label)}")
            version = labels[label]
        if name == self.name:
            newest = max(self.available(), default=0)
            found = self._versions.get(newest if version is None else version)
            if found is not None and found.state == State.AVAILABLE:
                return found
        shown = shortened(name)
        wanted = f"Latest({shown})" if version is None else f"Specific({shown}, {version})"
        raise _not_found(f"Servable not found for request: {wanted}")

    def _read_config(self) -> None:
        try:
            self._config = read_model_config(config_path(self.base), self.base.name)
        except MissingError:
            self._config = _NO_CONFIG
        self._last_warning = ""

    def _try_to_load(self, number: int) -> None:
        try:
            folder = version_folder(self.base, number)
        except MissingError:  # deleted since the folder was read
            return
        with self._lock:
            version = self._versions.setdefault(number, _Version(number))
        if version.state in (State.AVAILABLE, State.UNLOADING):
            return
        contents = _contents(folder)
        if version.error and version.failed_contents == contents:
            return
        if os.access(folder, os.R_OK) and not any(folder.glob("saved_model.pb*")):
            # It is still being copied. As in TensorFlow Serving: neither loaded nor failed.
            if version.state != State.LOADING:
                _log.info("version %d of %s has no saved_model.pb yet", number, self.name)
            version.state = State.LOADING
            return
        self._load_version(version, folder)
        version.failed_contents = contents

    def _load_version(self, version: _Version, folder: Path) -> None:
        _log.info("loading version %d of %s", version.number, self.name)
        started = time.perf_counter()
        version.state, version.error = State.LOADING, None
        try:
            version.model = self._load(folder)
        except StatusError as error:
            version.error = error
            _log.error("version %d of %s cannot be loaded: %s", version.number, self.name, error)
        seconds = time.perf_counter() - started
        with self._lock:
            version.users = 0 if version.error else 1
            version.state = State.END if version.error else State.AVAILABLE
        self._on_load(folder, version.error, seconds)
        if not version.error:
            _log.info(
                "version %d of %s is available after %.1f s", version.number, self.name, seconds
            )

    def _unload(self, numbers: Iterable[int]) -> None:
        """Free versions as soon as no request uses them."""
        for number in numbers:
            with self._lock:
                version = self._versions[number]
                version.state = State.UNLOADING
            self._release(version)

    def _release(self, version: _Version) -> None:
        """End a use of a version; the last one frees it."""
        with self._lock:
            version.users -= 1
            if version.users:
                return
        version.model.close()
        del version.model
        with self._lock:
            version.state = State.END
        _log.info("version %d of %s unloaded", version.number, self.name)


def _not_found(message: str) -> StatusError:
    return StatusError(grpc.StatusCode.NOT_FOUND, message)


def _status(version: _Version) -> pb.ModelVersionStatus:
    error = pb.StatusProto()
    if version.error:
        error.error_code = version.error.code.value[0]
        error.error_message = version.error.message
    return pb.ModelVersionStatus(version=version.number, state=version.state, status=error)


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and change time of every file; a failed load is retried after they change."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with suppress(OSError):  # deleted in the meantime
                status = os.lstat(path)
                found[path] = status.st_size, status.st_ctime_ns
    return found
