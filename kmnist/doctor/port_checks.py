"""Whether other programs use the ports of a server."""

import socket
from collections.abc import Iterator

from kmnist.client import Client
from kmnist.doctor.report import Finding
from kmnist.errors import (
    BadAnswerError,
    ClientError,
    DeadlineExceededError,
    NotReachableError,
)

__all__ = ["check_ports"]


def check_ports(grpc_port: int, rest_port: int, model: str) -> Iterator[Finding]:
    """Find ports of this machine that are in use by programs other than model servers.

    Args:
        grpc_port: The port for gRPC; 0 to skip it.
        rest_port: The port for REST; 0 to skip it.
        model: The model name of the status request that recognizes a model server.

    Yields:
        A problem for each such port.
    """
    for port, scheme, api, setting in (
        (grpc_port, "grpc", "gRPC", "GRPC_PORT"),
        (rest_port, "http", "REST", "REST_PORT"),
    ):
        if port and _is_open(port) and not _is_model_server(f"{scheme}://127.0.0.1:{port}", model):
            yield Finding(
                f"port {port} is in use by another program",
                f"{api} cannot be served on this port",
                f"stop the program, which ss -ltnp 'sport = :{port}' names, or choose another port "
                f"(docker compose: {setting})",
            )


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _is_model_server(url: str, model: str) -> bool:
    try:
        # A server on a busy machine may take seconds, or drop its first connection.
        with Client(url, model=model, timeout=10, retries=3) as client:
            client.status()
    except (BadAnswerError, DeadlineExceededError, NotReachableError):
        return False
    except ClientError:
        pass  # an error in the form of TensorFlow Serving, such as an unknown model
    return True
