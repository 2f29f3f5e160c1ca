"""The error tree: its exit codes, its drawing, and that errors cross process boundaries."""

import pickle

import pytest

from kmnist import errors
from kmnist.errors import ClientError, InputError, KmnistError, MissingError

EVERY = [getattr(errors, name) for name in errors.__all__]
CLIENT = [kind for kind in EVERY if issubclass(kind, ClientError)]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_and_in_its_drawing(kind: type[KmnistError]) -> None:
    assert issubclass(kind, KmnistError)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_exit_codes(kind: type[KmnistError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, (InputError, MissingError)) else 1)


@pytest.mark.parametrize("kind", CLIENT, ids=lambda kind: kind.__name__)
def test_client_errors_can_be_pickled(kind: type[ClientError]) -> None:
    error = kind("it broke", detail="why", retryable=True)
    error.address, error.model, error.version = "grpc://a:1", "kmnist", 3
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == "it broke"
    assert vars(again) == vars(error)
    assert again.version == 3
