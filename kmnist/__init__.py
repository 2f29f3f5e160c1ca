"""Softmax regression on MNIST: trained with Keras, exported, served, queried.

Every public name is loaded on first use, so ``import kmnist`` is instant and a service that
only asks a server for predictions never loads TensorFlow:

* ``load_dataset``, ``build_model``, ``train``, ``evaluate``, ``export_model`` import TensorFlow;
* ``Client``, ``AsyncClient`` import numpy, and grpcio or urllib3 as their address asks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmnist.client import AsyncClient as AsyncClient
    from kmnist.client import Client as Client
    from kmnist.datasets import Dataset as Dataset
    from kmnist.datasets import Split as Split
    from kmnist.datasets import load_dataset as load_dataset
    from kmnist.errors import InputError as InputError
    from kmnist.errors import KmnistError as KmnistError
    from kmnist.errors import MissingError as MissingError
    from kmnist.export import export_model as export_model
    from kmnist.model import build_model as build_model
    from kmnist.results import Evaluation as Evaluation
    from kmnist.training import Run as Run
    from kmnist.training import evaluate as evaluate
    from kmnist.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "kmnist.client",
    "Client": "kmnist.client",
    "Dataset": "kmnist.datasets",
    "Evaluation": "kmnist.results",
    "InputError": "kmnist.errors",
    "KmnistError": "kmnist.errors",
    "MissingError": "kmnist.errors",
    "Run": "kmnist.training",
    "Split": "kmnist.datasets",
    "build_model": "kmnist.model",
    "evaluate": "kmnist.training",
    "export_model": "kmnist.export",
    "load_dataset": "kmnist.datasets",
    "train": "kmnist.training",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
