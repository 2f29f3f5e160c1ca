"""The embedded server: both transports over one model, from start to stop."""

import asyncio
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.versions import list_versions

if TYPE_CHECKING:
    from kmnist.server.manager import Manager
    from kmnist.server.rest import RestServer
    from kmnist.server.rpc import GrpcServer

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """TensorFlow Serving's gRPC and REST APIs for one model, in this process.

    ::

        with Server("models/kmnist", rest_port=0, grpc_port=0) as server:
            Client(server.grpc_url).predict(images)

    Args:
        base: The folder that holds the version folders.
        name: What requests call the model; the folder's name if not given.
        host: The address to listen on. Whoever reaches it can use the model.
        rest_port: 0 lets the kernel choose, as for ``grpc_port``.
        grpc_port: See there.
        concurrency: Most requests worked on at a time, over both transports; more are refused.
        max_bytes: Largest request.
        timeout: Seconds after which a REST request is given up. Over gRPC the caller says.
        grace: Seconds that requests under way get to finish in when the server stops.
        poll_seconds: How often the folder and ``models.config`` are looked at.

    Raises:
        InputError: an argument cannot be used.
        KmnistError: an address cannot be listened on, because it is taken for example.
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
        max_bytes: int = 64 * 2**20,
        timeout: float = 30.0,
        grace: float = 30.0,
        poll_seconds: float = 1.0,
    ) -> None:
        self.base = Path(os.path.abspath(base))
        if any(self.base.glob("saved_model.pb*")):
            raise InputError(
                f"{base} is a version; give the folder above it, which holds the versions: "
                f"{self.base.parent}"
            )
        self.name = name or self.base.name
        if not self.name or "/" in self.name or ":" in self.name:
            raise InputError(f"{self.name!r} cannot be a model's name; give one without / and :")
        if rest_port == grpc_port != 0:
            raise InputError(
                f"the ports of REST and gRPC have to differ, received {rest_port} twice"
            )
        self.host = host
        self._concurrency = concurrency
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._grace = grace
        self._poll_seconds = poll_seconds
        self._stopping = threading.Event()
        # Bound but not listening: the ports are ours, and until a version answers the connection
        # is refused, which is how clients of TensorFlow Serving tell that it is still loading.
        with ExitStack() as cleanup:
            self._rest_socket = cleanup.enter_context(_bound(host, rest_port))
            self._grpc_socket = cleanup.enter_context(_bound(host, grpc_port))
            self._cleanup = cleanup.pop_all()
        self.rest_port: int = self._rest_socket.getsockname()[1]
        self.grpc_port: int = self._grpc_socket.getsockname()[1]

    @property
    def rest_url(self) -> str:
        """Where the REST API is, for a client."""
        return f"http://{_authority(self.host, self.rest_port)}"

    @property
    def grpc_url(self) -> str:
        """Where the gRPC API is, for a client."""
        return f"grpc://{_authority(self.host, self.grpc_port)}"

    def __enter__(self) -> Self:
        if not list_versions(self.base):
            self.stop()
            raise MissingError(
                f"no version in {self.base}; train one with: kmnist-train --output {self.base}"
            )
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
        """Until there is a version to try; needs no TensorFlow yet."""
        if not list_versions(self.base):
            _log.warning(
                "no version in %s yet; waiting for one: kmnist-train --output %s",
                self.base,
                self.base,
            )
        while not list_versions(self.base):
            time.sleep(self._poll_seconds)

    def start(self) -> None:
        """Waits for a version that can be loaded, for ever if need be; then takes requests.

        Raises:
            KmnistError: there are versions, and none of them can be loaded; or somebody else
                listens on one of the ports by now.
        """
        self.wait_for_folder()
        # TensorFlow takes seconds to import; by now the ports are ours.
        from kmnist.server.manager import Manager
        from kmnist.server.monitoring import Metrics
        from kmnist.server.rest import RestServer
        from kmnist.server.rpc import GrpcServer
        from kmnist.server.servable import Servable
        from kmnist.server.service import Service

        try:
            metrics = Metrics()
            manager = Manager(self.base, self.name, Servable, loaded=metrics.load)
            self._cleanup.callback(manager.close)
            self._wait_for_version(manager)
            self._run_poller(manager)
            service = Service(manager, metrics, self._concurrency)
            self._grpc_socket.close()
            with _listening(self.host, self.grpc_port) as address:
                grpc_server = GrpcServer(service, address, self._concurrency, self._max_bytes)
            rest_server = RestServer(
                service,
                self._rest_socket,
                concurrency=self._concurrency,
                max_bytes=self._max_bytes,
                timeout=self._timeout,
                grace=self._grace,
            )
            loop = self._run_loop()
            self._cleanup.callback(self._stop_transports, loop, rest_server, grpc_server)
            with _listening(self.host, self.rest_port):
                asyncio.run_coroutine_threadsafe(rest_server.start(), loop).result()
            grpc_server.start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Until ``stop`` is called."""
        self._stopping.wait()

    def stop(self) -> None:
        """Takes no new request, lets those under way finish, and frees the model."""
        self._stopping.set()
        self._cleanup.close()

    def _wait_for_version(self, manager: "Manager") -> None:
        while True:
            manager.poll()
            if manager.available():
                return
            failures = manager.failures()
            if failures:
                reasons = "; ".join(f"version {n}: {why}" for n, why in sorted(failures.items()))
                raise KmnistError(f"no version in {self.base} can be loaded: {reasons}")
            time.sleep(self._poll_seconds)

    def _run_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop in a thread of its own, so that the caller may have one too, or none."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="kmnist-rest", daemon=True)
        thread.start()

        def end() -> None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        self._cleanup.callback(end)
        return loop

    def _run_poller(self, manager: "Manager") -> None:
        def poll() -> None:
            while not self._stopping.wait(self._poll_seconds):
                try:
                    manager.poll()
                except Exception:  # noqa: BLE001 - it is logged, and the server goes on
                    _log.exception("looking for new versions failed; trying again")

        thread = threading.Thread(target=poll, name="kmnist-poll", daemon=True)
        thread.start()
        self._cleanup.callback(thread.join)

    def _stop_transports(
        self, loop: asyncio.AbstractEventLoop, rest_server: "RestServer", grpc_server: "GrpcServer"
    ) -> None:
        """Both at once: neither may take requests while the other waits for its last ones."""
        rest_stopped = asyncio.run_coroutine_threadsafe(rest_server.stop(), loop)
        grpc_server.stop(self._grace)
        rest_stopped.result()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InputError(f"--host {host!r} is not an address of this machine: {error}") from None
    with _listening(host, port), ExitStack() as cleanup:
        bound = cleanup.enter_context(socket.socket(family, kind, protocol))
        # Or a restart would have to wait for minutes until the kernel forgets old connections.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        cleanup.pop_all()
    return bound


@contextmanager
def _listening(host: str, port: int) -> Iterator[str]:
    """Says in our words why the address cannot be listened on; yields it as ``host:port``."""
    address = _authority(host, port)
    try:
        yield address
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = "stop what does, or choose another port"
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
            advice = "choose another address or port"
        raise KmnistError(f"cannot listen on {address}: {reason}; {advice}") from None


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
