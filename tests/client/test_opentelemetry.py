"""The standard instrumentors of OpenTelemetry trace every transport of the client."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from kmnist.server import Server

pytest.importorskip("tensorflow", reason="needs TensorFlow to serve a model")
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
    GrpcInstrumentorClient,
    GrpcAioInstrumentorClient,
    URLLib3Instrumentor,
    AioHttpClientInstrumentor,
):
    instrumentor().instrument()

from kmnist import AsyncClient, Client

tracer = trace.get_tracer("test")
images = np.zeros((1, 28, 28), np.uint8)

async def ask(url):
    async with AsyncClient(url) as client:
        await client.predict(images)

for url in sys.argv[1:]:
    with tracer.start_as_current_span("blocking " + url.partition(":")[0]), Client(url) as client:
        client.predict(images)
    with tracer.start_as_current_span("asyncio " + url.partition(":")[0]):
        asyncio.run(ask(url))
"""


@pytest.fixture(scope="module")
def spans(served: "Server") -> list[dict[str, Any]]:
    """The spans of a call over each transport."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, served.grpc_url, served.rest_url],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("client", ["blocking", "asyncio"])
@pytest.mark.parametrize(
    ("scheme", "predict"),
    [("grpc", "/tensorflow.serving.PredictionService/Predict"), ("http", "POST")],
)
def test_each_request_is_a_span_of_the_trace_of_its_caller(
    spans: list[dict[str, Any]], client: str, scheme: str, predict: str
) -> None:
    (caller,) = [span for span in spans if span["name"] == f"{client} {scheme}"]
    requests = [span for span in spans if span["parent_id"] == caller["context"]["span_id"]]
    # The signatures are read before the first prediction.
    assert len(requests) == 2
    assert requests[-1]["name"] == predict
    assert {span["context"]["trace_id"] for span in requests} == {caller["context"]["trace_id"]}
    assert {span["kind"] for span in requests} == {"SpanKind.CLIENT"}
