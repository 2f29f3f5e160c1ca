"""The standard instrumentors of OpenTelemetry trace every transport of the client."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.client.standin import StandIn

for name in ("grpc", "urllib3", "aiohttp_client"):
    pytest.importorskip(f"opentelemetry.instrumentation.{name}", reason="is in the extra dev")

# In a process of its own: instrumentors change the libraries for all tests that follow.
PROGRAM: Final = """
import asyncio, sys
import numpy as np
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

trace.set_tracer_provider(TracerProvider())
exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\\n")
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
for instrumentor in (
    GrpcInstrumentorClient, GrpcAioInstrumentorClient, URLLib3Instrumentor, AioHttpClientInstrumentor
):
    instrumentor().instrument()

from kmnist import AsyncClient, Client

tracer = trace.get_tracer("test")
image = np.zeros((28, 28), np.uint8)

async def ask(url):
    async with AsyncClient(url) as client:
        await client.predict(image)

for url in sys.argv[1:]:
    with tracer.start_as_current_span("blocking " + url.partition(":")[0]), Client(url) as client:
        client.predict(image)
    with tracer.start_as_current_span("asyncio " + url.partition(":")[0]):
        asyncio.run(ask(url))
"""


def test_each_request_is_a_span_of_the_trace_of_its_caller(server: StandIn) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url("grpc"), server.url("http")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    spans: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    callers = [span for span in spans if span["parent_id"] is None]
    assert len(callers) == 4
    for caller in callers:
        requests = [span for span in spans if span["parent_id"] == caller["context"]["span_id"]]
        # The signatures are read before the first prediction.
        assert len(requests) == 2
        assert requests[-1]["name"] in ("/tensorflow.serving.PredictionService/Predict", "POST")
