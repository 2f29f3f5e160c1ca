"""The embedded server: both transports of one model, from start to stop."""

import asyncio
import logging
import os
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.server.access import Access
from kmnist.server.base_folder import require_base_folder
from kmnist.server.sockets import authority, bind, listening_on
from kmnist.versions import list_versions

if TYPE_CHECKING:
    from kmnist.server.grpc_api import GrpcApi
    from kmnist.server.rest_api import RestApi
    from kmnist.server.service import Service
    from kmnist.server.versions import Versions

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """TensorFlow Serving's gRPC and REST APIs for one model, in this process.

    As a context manager it starts at once, and stops at the end of the block.

    Example::

        with Server("models/kmnist", rest_port=0, grpc_port=0) as server:
            Client(server.grpc_url).predict(images)

    Attributes:
        base: The folder of versions, as an absolute path.
        name: The model name of requests.
        host: The address of both ports.
        rest_port: The port of the REST API.
        grpc_port: The port of the gRPC API.
    """

    def __init__(
        self,
        base: str | os.PathLike[str],
        *,
        name: str | None = None,
        host: str = "127.0.0.1",
        rest_port: int = 8501,
        grpc_port: int = 8500,
        concurrency: int = 64,
        timeout: float = 30.0,
        grace: float = 30.0,
        poll_seconds: float = 1.0,
        verify: bool = True,
    ) -> None:
        """Bind both ports; needs no TensorFlow yet.

        Args:
            base: The folder of versions.
            name: The model name of requests; None for the name of the folder.
            host: The address to listen on. Everyone who can reach it can use the model.
            rest_port: The port of the REST API; 0 for any free port.
            grpc_port: The port of the gRPC API; 0 for any free port.
            concurrency: The number of requests that are processed at a time, over both
                transports; further ones are refused.
            timeout: Seconds after which a REST request is answered with an error; it occupies its
                place until its computation ends. Over gRPC, the caller sets a deadline.
            grace: Seconds for the requests in progress to finish when the server stops.
            poll_seconds: The interval at which the folder and ``models.config`` are read.
            verify: Refuse to load a version that differs from its manifest; see
                :func:`kmnist.versions.verify_version`.

        Raises:
            InputError: An argument cannot be used.
            KmnistError: A port is in use, or its use is not permitted.
        """
        self.base = Path(os.path.abspath(base))
        require_base_folder(self.base)
        self.name = name or self.base.name
        if not self.name or "/" in self.name or ":" in self.name:
            raise InputError(
                f"{self.name!r} cannot be a model's name; expected a name without / and :"
            )
        if rest_port == grpc_port != 0:
            raise InputError(
                f"received port {rest_port} for both REST and gRPC; expected two different ports"
            )
        self.host = host
        self._concurrency = concurrency
        self._timeout = timeout
        self._grace = grace
        self._poll_seconds = poll_seconds
        self._verify = verify
        self._stopping = threading.Event()
        self._poller: threading.Thread | None = None
        self._service: Service | None = None
        # Bound but not listening: the ports are reserved, and connections are refused until a
        # version is available. Clients of TensorFlow Serving take that as a sign of loading.
        with ExitStack() as cleanup:
            self._rest_socket = cleanup.enter_context(bind(host, rest_port))
            self._grpc_socket = cleanup.enter_context(bind(host, grpc_port))
            address = self._rest_socket.getsockname()[0]
            self._access = Access(host, address)
            self._cleanup = cleanup.pop_all()
        self.rest_port: int = self._rest_socket.getsockname()[1]
        self.grpc_port: int = self._grpc_socket.getsockname()[1]

    def __repr__(self) -> str:
        return f"Server({self.name}: {self.base}, {self.grpc_url}, {self.rest_url})"

    @property
    def rest_url(self) -> str:
        """The address of the REST API for a client."""
        return f"http://{authority(self.host, self.rest_port)}"

    @property
    def grpc_url(self) -> str:
        """The address of the gRPC API for a client."""
        return f"grpc://{authority(self.host, self.grpc_port)}"

    def __enter__(self) -> Self:
        if not list_versions(self.base):
            self.stop()
            raise MissingError(f"no version in {self.base}; train one with: kmnist-train")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_for_folder(self) -> None:
        """Block until the folder contains a version; needs no TensorFlow yet."""
        if not list_versions(self.base):
            _log.warning("no version in %s yet; waiting for one: kmnist-train", self.base)
        while not list_versions(self.base):
            time.sleep(self._poll_seconds)

    def start(self) -> None:
        """Wait, indefinitely if necessary, for a version that can be loaded; then serve it.

        Raises:
            KmnistError: None of the existing versions can be loaded, or another program uses one
                of the ports by now.
        """
        self.wait_for_folder()
        # TensorFlow takes seconds to import.
        from kmnist.server.grpc_api import GrpcApi
        from kmnist.server.metrics import Metrics
        from kmnist.server.model import LoadedModel
        from kmnist.server.rest_api import RestApi
        from kmnist.server.service import Service
        from kmnist.server.versions import Versions

        try:
            metrics = Metrics()
            load = partial(LoadedModel, verify=self._verify)
            manager = Versions(self.base, self.name, load, on_load=metrics.load)
            self._cleanup.callback(manager.close)
            self._wait_for_version(manager)
            self._run_poller(manager)
            service = self._service = Service(manager, metrics, self._concurrency)
            self._grpc_socket.close()
            with listening_on(self.host, self.grpc_port) as address:
                grpc_server = GrpcApi(service, address, self._concurrency)
            rest_api = RestApi(service, self._access, self._timeout)
            loop = self._run_loop()
            self._cleanup.callback(self._stop_transports, loop, rest_api, grpc_server)
            with listening_on(self.host, self.rest_port):
                asyncio.run_coroutine_threadsafe(rest_api.start(self._rest_socket), loop).result()
            grpc_server.start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Block until another thread calls ``stop``."""
        self._stopping.wait()

    def stop(self) -> bool:
        """Refuse new requests, wait until those in progress have finished, and free the model.

        Returns:
            Whether nothing of the server runs any more. Not so if a computation or a load has
            outlasted the grace, which cannot be interrupted: Python waits for it when the process
            ends, unless that is done by ``os._exit``.
        """
        self._stopping.set()
        self._cleanup.close()
        is_loading = self._poller is not None and self._poller.is_alive()
        return not is_loading and not (self._service and self._service.in_progress)

    def _wait_for_version(self, manager: "Versions") -> None:
        while True:
            manager.poll()
            if manager.available():
                return
            failures = manager.failures()
            if failures:
                reasons = "; ".join(
                    f"version {number}: {message}" for number, message in sorted(failures.items())
                )
                raise KmnistError(f"no version in {self.base} can be loaded: {reasons}")
            time.sleep(self._poll_seconds)

    def _run_loop(self) -> asyncio.AbstractEventLoop:
        """Run an event loop in its own thread, so that the caller may have one too, or none."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="kmnist-rest", daemon=True)
        thread.start()

        def end() -> None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        self._cleanup.callback(end)
        return loop

    def _run_poller(self, manager: "Versions") -> None:
        def poll() -> None:
            while not self._stopping.wait(self._poll_seconds):
                try:
                    manager.poll()
                except Exception:  # noqa: BLE001 - logged; the server continues
                    _log.exception("polling for new versions failed; retrying")

        thread = self._poller = threading.Thread(target=poll, name="kmnist-poll", daemon=True)
        thread.start()
        self._cleanup.callback(thread.join, self._grace)

    def _stop_transports(
        self, loop: asyncio.AbstractEventLoop, rest_api: "RestApi", grpc_server: "GrpcApi"
    ) -> None:
        """Stop both at once: neither accepts requests while the other finishes its last ones."""
        rest_stopped = asyncio.run_coroutine_threadsafe(rest_api.stop(self._grace), loop)
        grpc_server.stop(self._grace)
        rest_stopped.result()
