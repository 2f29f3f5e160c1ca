"""Behaviour of the blocking gRPC transport alone."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import Client, ClosedError
from tests.client.standin import StandIn


def test_closing_ends_the_calls_in_progress(server: StandIn, images: NDArray[np.uint8]) -> None:
    with Client(f"grpc://127.0.0.1:{server.grpc_port}") as client:
        client.metadata()
        server.delay = 1
        threading.Timer(0.2, client.close).start()
        with pytest.raises(ClosedError, match="was closed while it waited"):
            client.predict(images)
