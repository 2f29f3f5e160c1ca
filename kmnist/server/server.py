"""The embedded server: both transports of one model, from start to stop."""

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kmnist.checks import one_line
from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.server.access import Access
from kmnist.server.base_folder import require_base_folder
from kmnist.versions import list_versions

if TYPE_CHECKING:
    from kmnist.server.service import Service
    from kmnist.server.versions import Versions

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """TensorFlow Serving's gRPC and REST APIs for one model, in this process.

    As a context manager it starts at once, and stops at the end of the block. Both transports run
    on an event loop in a thread of its own, so the caller may have another one, or none.

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
            raise InputError(f"{self.name!r} cannot be a model's name: use one without / and :")
        if rest_port == grpc_port != 0:
            raise InputError(f"REST and gRPC cannot both use port {rest_port}")
        self.host = host
        self._concurrency = concurrency
        self._timeout = timeout
        self._grace = grace
        self._poll_seconds = poll_seconds
        self._verify = verify
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._service: Service | None = None
        # Bound but not listening: the ports are reserved, and connections are refused until a
        # version is available. Clients of TensorFlow Serving take that as a sign of loading.
        with ExitStack() as cleanup:
            self._rest_socket = cleanup.enter_context(_bound(host, rest_port))
            self._grpc_socket = cleanup.enter_context(_bound(host, grpc_port))
            self._cleanup = cleanup.pop_all()
        self.rest_port: int = self._rest_socket.getsockname()[1]
        self.grpc_port: int = self._grpc_socket.getsockname()[1]

    @property
    def rest_url(self) -> str:
        """The address of the REST API for a client."""
        return f"http://{_authority(self.host, self.rest_port)}"

    @property
    def grpc_url(self) -> str:
        """The address of the gRPC API for a client."""
        return f"grpc://{_authority(self.host, self.grpc_port)}"

    def __enter__(self) -> Self:
        if not list_versions(self.base):
            self.stop()
            raise MissingError(f"no version in {self.base}; train one with: kmnist-train")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
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
        from kmnist.server.metrics import Metrics
        from kmnist.server.model import LoadedModel
        from kmnist.server.service import Service
        from kmnist.server.versions import Versions

        try:
            metrics = Metrics()
            load = partial(LoadedModel, verify=self._verify)
            versions = Versions(self.base, self.name, load, on_load=metrics.load)
            self._cleanup.callback(versions.close)
            self._load_first(versions)
            poller = self._in_thread(self._poll, versions)
            self._cleanup.callback(poller.join, self._grace)
            self._service = Service(versions, metrics, self._concurrency)
            self._cleanup.callback(self._service.close)
            started: Future[None] = Future()
            stopping: Future[None] = Future()
            serving = self._serve(self._service, started, stopping)
            thread = self._in_thread(asyncio.run, serving)
            self._cleanup.callback(thread.join)
            self._cleanup.callback(stopping.set_result, None)
            started.result()
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
        is_idle = self._service is None or self._service.is_idle
        return is_idle and not any(thread.is_alive() for thread in self._threads)

    def _load_first(self, versions: "Versions") -> None:
        """Poll until a version is available."""
        versions.poll()
        while not versions.available():
            if failures := sorted(versions.failures().items()):
                reasons = "; ".join(f"version {number}: {why}" for number, why in failures)
                raise KmnistError(f"no version in {self.base} can be loaded: {reasons}")
            time.sleep(self._poll_seconds)
            versions.poll()

    def _in_thread(self, target: Callable[..., object], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="kmnist-server", daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _poll(self, versions: "Versions") -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                versions.poll()
            except Exception:  # noqa: BLE001 - logged; the server continues
                _log.exception("polling for new versions failed; retrying")

    async def _serve(
        self, service: "Service", started: "Future[None]", stopping: "Future[None]"
    ) -> None:
        """Serve both transports; ``started`` gets the error of a start that failed."""
        from kmnist.server.grpc_api import GrpcApi
        from kmnist.server.rest_api import RestApi

        grpc_api = GrpcApi(service)
        address = self._rest_socket.getsockname()[0]
        access = Access(self.host, address)
        rest_api = RestApi(service, access, self._rest_socket, self._timeout)
        try:
            self._grpc_socket.close()
            with _listening_on(self.host, self.grpc_port):
                await grpc_api.start(_authority(address, self.grpc_port))
            with _listening_on(self.host, self.rest_port):
                await rest_api.start()
        except BaseException as error:  # noqa: BLE001 - raised by start
            started.set_exception(error)
        else:
            started.set_result(None)
            await asyncio.wrap_future(stopping)
        finally:
            # Both at once: neither accepts requests while the other finishes its last ones.
            await asyncio.gather(grpc_api.stop(self._grace), rest_api.stop(self._grace))


def _authority(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet; port 0 stands for any free port.

    Raises:
        InputError: There is no such host.
        KmnistError: The address cannot be used.
    """
    with _listening_on(host, port), ExitStack() as cleanup:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = cleanup.enter_context(socket.socket(family))
        # Without it, a restart fails for minutes, until the old connections have timed out.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        cleanup.pop_all()
    return bound


@contextmanager
def _listening_on(host: str, port: int) -> Iterator[None]:
    """Convert the error of an address that cannot be listened on.

    Raises:
        InputError: There is no such host.
        KmnistError: The block raised another OSError, or gRPC's RuntimeError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        kind = InputError if isinstance(error, socket.gaierror) else KmnistError
        reason = getattr(error, "strerror", None) or one_line(error)
        advice = "choose another address or port"
        raise kind(f"cannot listen on {_authority(host, port)}: {reason}; {advice}") from None
