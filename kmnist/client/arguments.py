"""From the arguments of a client to its calls; the same for both clients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kmnist.client.address import TLS, Address, checked_headers
from kmnist.client.calls import Calls
from kmnist.errors import InvalidInputError
from kmnist.protocol.model_spec import ModelSpec

__all__ = ["make_calls"]


def make_calls(
    url: str,
    open_transports: Callable[[Address, Mapping[str, str]], Sequence[Any]],
    *,
    model: str,
    version: int | None,
    label: str | None,
    timeout: float,
    retries: int,
    batch_size: int,
    headers: Mapping[str, str] | None,
    tls: TLS | None,
    transport: Any,
) -> Calls:
    """Check every argument, and open the transports.

    Raises:
        InvalidInputError: An argument cannot be used.
    """
    if not model:
        raise InvalidInputError("received an empty model name; expected one like 'kmnist'")
    if version is not None and label is not None:
        raise InvalidInputError(
            f"received version {version} and label {label!r}; expected at most one of them"
        )
    if version is not None and version < 0:
        raise InvalidInputError(f"received version {version}; expected a number from 0 up")
    if not timeout > 0:
        raise InvalidInputError(f"received timeout={timeout}; expected seconds, more than 0")
    if retries < 0:
        raise InvalidInputError(f"received retries={retries}; expected 0 or more")
    if batch_size < 1:
        raise InvalidInputError(f"received batch_size={batch_size}; expected 1 or more")
    address = Address.parse(url, tls)
    sent = checked_headers(headers)
    return Calls(
        str(address),
        ModelSpec(model, version, label),
        open_transports(address, sent) if transport is None else [transport],
        timeout=timeout,
        retries=retries,
        batch_size=batch_size,
    )
