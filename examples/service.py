"""A web service that tells digits: one client for all requests, each failure a fitting status.

::

    kmnist serve &
    python examples/service.py
    curl --data-binary @seven.png localhost:8080/digit
    {"digit": "7", "probability": 0.998}

It needs only requirements-client.txt. ``$KMNIST_SERVER`` says whom to ask, ``$PORT`` where to
listen.
"""

import os
from collections.abc import AsyncIterator

from aiohttp import web

from kmnist.client import (
    AsyncClient,
    ClientError,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
)

CLIENT = web.AppKey("client", AsyncClient)


async def digit(request: web.Request) -> web.Response:
    """POST /digit with the bytes of a picture."""
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
    """GET /ready, for whoever decides where requests go."""
    is_ready = await request.app[CLIENT].is_ready(timeout=1)
    return web.Response(status=200 if is_ready else 503)


async def client(app: web.Application) -> AsyncIterator[None]:
    """One client for as long as the service runs: it keeps its connections."""
    server = os.environ.get("KMNIST_SERVER", "grpc://localhost:8500")
    async with AsyncClient(server, timeout=5) as app[CLIENT]:
        yield


def service() -> web.Application:
    app = web.Application(client_max_size=8 * 2**20)
    app.cleanup_ctx.append(client)
    app.add_routes([web.post("/digit", digit), web.get("/ready", ready)])
    return app


if __name__ == "__main__":
    web.run_app(service(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
