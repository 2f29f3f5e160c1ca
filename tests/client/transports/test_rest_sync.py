"""Behaviour of the blocking REST transport alone."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import Client, ClosedError
from tests.client.standin import StandIn


def test_closing_lets_the_requests_in_progress_finish(
    server: StandIn, images: NDArray[np.uint8]
) -> None:
    with Client(f"http://127.0.0.1:{server.http_port}") as client:
        client.metadata()
        server.delay = 0.5
        timer = threading.Timer(0.1, client.close)
        timer.start()
        assert len(client.predict(images)) == 200
        timer.join()
        with pytest.raises(ClosedError):
            client.predict(images)


def test_a_connection_is_reused() -> None:
    server = StandIn()
    with Client(f"http://127.0.0.1:{server.serve_http()}") as client:
        for _ in range(3):
            client.status()
            assert server.open_connections() == 1
    server.stop()
