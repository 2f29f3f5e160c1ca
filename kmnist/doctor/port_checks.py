"""Whether something else sits on the ports of a server."""

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
    """Finds ports of this machine that are taken by what is no model server; 0 is not looked at."""
    for port, scheme, setting, option in (
        (grpc_port, "grpc", "GRPC_PORT", "--grpc-port"),
        (rest_port, "http", "REST_PORT", "--rest-port"),
    ):
        if port and _is_open(port) and not _is_model_server(f"{scheme}://127.0.0.1:{port}", model):
            yield Finding(
                f"port {port} is taken, and not by a model server",
                f"{'gRPC' if scheme == 'grpc' else 'REST'} cannot be served there: address in use",
                f"stop what listens, ss -ltnp 'sport = :{port}' names it, or take another port: "
                f"{setting}=N docker compose up, or kmnist serve {option} N",
            )


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _is_model_server(url: str, model: str) -> bool:
    try:
        with Client(url, model=model, timeout=3, retries=0) as client:
            client.status()
    except (BadAnswerError, DeadlineExceededError, NotReachableError):
        return False
    except ClientError:
        pass  # it has no such model, or is busy: but that is said as TensorFlow Serving says it
    return True
