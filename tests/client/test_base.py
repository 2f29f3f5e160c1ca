"""What the blocking and the asyncio client share: arguments, properties and repr."""

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmnist.client import AsyncClient, Client, InvalidInputError
from kmnist.client.testing import FakeTransport

CLIENTS = [Client, AsyncClient]
AnyClient = type[Client] | type[AsyncClient]


def zeros(values: NDArray[Any]) -> NDArray[Any]:
    return np.eye(10)[[0] * len(values)]


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_constructor_shows_its_parameters_with_types_and_defaults(kind: AnyClient) -> None:
    parameters = inspect.signature(kind).parameters
    assert list(parameters) == (
        "url model version label timeout retries batch_size headers tls transport".split()
    )
    assert parameters["url"].default == "grpc://localhost:8500"
    assert parameters["version"].annotation == int | None
    documentation = inspect.getdoc(kind.__init__) or ""
    assert all(f"\n    {name}: " in documentation for name in parameters)


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_has_an_address_and_a_model(kind: AnyClient) -> None:
    client = kind("http://a,b:8501/up", model="m", transport=FakeTransport(zeros))
    assert client.address == "http://a:80,b:8501/up"
    assert client.model == "m"


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "'grpc://a:8500', model='kmnist'"),
        ({"version": 3}, "'grpc://a:8500', model='kmnist', version=3"),
        ({"label": "stable"}, "'grpc://a:8500', model='kmnist', label='stable'"),
        ({"headers": {"authorization": "s3cret"}}, "'grpc://a:8500', model='kmnist'"),
    ],
    ids=str,
)
def test_the_repr_shows_what_is_requested_but_no_secrets(
    kind: AnyClient, options: dict[str, Any], text: str
) -> None:
    client = kind("grpc://a", transport=FakeTransport(zeros), **options)
    assert repr(client) == f"{kind.__name__}({text})"


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "empty model name"),
        ({"version": 1, "label": "stable"}, "version 1 and label 'stable'; expected at most one"),
        ({"version": -1}, "received version -1"),
        ({"timeout": 0}, "received timeout=0; expected more than 0 seconds"),
        ({"timeout": float("nan")}, "received timeout=nan"),
        ({"retries": -1}, "received retries=-1"),
        ({"batch_size": 0}, "received batch_size=0"),
        ({"headers": {"a b": "c"}}, "header name 'a b'"),
        ({"headers": {"a": "s3cret\n"}}, "value of header 'a'"),
        ({"url": "localhost:8500"}, "without a scheme"),
    ],
    ids=str,
)
def test_an_invalid_argument_is_an_error(
    kind: AnyClient, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message) as info:
        kind(**options)
    assert "s3cret" not in str(info.value)
