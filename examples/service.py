"""A web service that classifies digits: one client for all requests, an HTTP status per error.

::

    kmnist serve &
    python examples/service.py
    curl --data-binary @seven.png localhost:8000/digit
    {"digit": "7", "probability": 0.998}

It needs no TensorFlow. ``$KMNIST_SERVER`` is the address of the model server,
``$PORT`` the port of this service.
"""

import os
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from kmnist.client import (
    AsyncClient,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
)

CLIENT: Final = web.AppKey("client", AsyncClient)


async def classify(request: web.Request) -> web.Response:
    """POST /digit: classify the picture in the body."""
    picture = await request.read()
    try:
        (prediction,) = await request.app[CLIENT].predict_pictures(picture)
    except InvalidInputError as error:
        return web.json_response({"error": str(error)}, status=400)
    except OverloadedError as error:
        return web.json_response({"error": str(error)}, status=503, headers={"retry-after": "1"})
    except DeadlineExceededError as error:
        return web.json_response({"error": str(error)}, status=504)
    except ClientError as error:
        return web.json_response({"error": str(error)}, status=502)
    return web.json_response(
        {"digit": prediction.class_name, "probability": round(prediction.probability, 3)}
    )


async def ready(request: web.Request) -> web.Response:
    """GET /ready: a readiness probe, 200 if the model server can answer and 503 if not."""
    is_ready = await request.app[CLIENT].is_ready(timeout=1)
    return web.Response(status=200 if is_ready else 503)


async def client_context(app: web.Application) -> AsyncIterator[None]:
    """Keep one client, and so its connections, open while the service runs."""
    server = os.environ.get("KMNIST_SERVER", "grpc://localhost:8500")
    async with AsyncClient(server, timeout=5) as app[CLIENT]:
        yield


def make_app() -> web.Application:
    """Return the service; a picture may have up to 8 MiB."""
    app = web.Application(client_max_size=8 * 2**20)
    app.cleanup_ctx.append(client_context)
    app.add_routes([web.post("/digit", classify), web.get("/ready", ready)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
