"""Ports that are in use by other programs."""

import http.server
import socket
import threading

import pytest

from kmnist.doctor.port_checks import check_ports
from kmnist.server import Server


def test_a_free_port_and_a_skipped_one_are_in_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    assert list(check_ports(port, 0, "kmnist")) == []


@pytest.mark.timeout(60)
def test_a_program_that_does_not_answer_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (finding,) = check_ports(port, 0, "kmnist")
    assert finding.what == f"port {port} is in use by another program"
    assert finding.why == "gRPC cannot be served on this port"
    assert f"ss -ltnp 'sport = :{port}'" in finding.do


def test_another_web_server_is_found() -> None:
    handler = http.server.BaseHTTPRequestHandler
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as web_server:
        threading.Thread(target=web_server.serve_forever, daemon=True).start()
        (finding,) = check_ports(0, web_server.server_port, "kmnist")
        web_server.shutdown()
    assert finding.what == f"port {web_server.server_port} is in use by another program"
    assert "REST_PORT" in finding.do


@pytest.mark.parametrize("model", ["kmnist", "other"])
def test_a_model_server_may_use_the_ports(served: Server, model: str) -> None:
    assert list(check_ports(served.grpc_port, served.rest_port, model)) == []
