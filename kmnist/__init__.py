"""Softmax regression on MNIST: train with Keras, export, serve, query.

Public names are imported on first use, so ``import kmnist`` itself loads nothing:

* ``load_dataset``, ``build_model``, ``train``, ``evaluate``, ``export_model``, ``load_model`` and
  ``Server`` need the extra ``train``, and import TensorFlow when they are first called;
* ``Client`` and ``AsyncClient`` import numpy, and grpcio, urllib3 or aiohttp as the server's
  address requires.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmnist.client import AsyncClient as AsyncClient
    from kmnist.client import Client as Client
    from kmnist.client import Prediction as Prediction
    from kmnist.client import Predictions as Predictions
    from kmnist.client.stream import predict_stream as predict_stream
    from kmnist.data import Dataset as Dataset
    from kmnist.data import Split as Split
    from kmnist.data import load_dataset as load_dataset
    from kmnist.errors import ClientError as ClientError
    from kmnist.errors import InputError as InputError
    from kmnist.errors import KmnistError as KmnistError
    from kmnist.errors import MissingError as MissingError
    from kmnist.export.saved_model import export_model as export_model
    from kmnist.export.saved_model import load_model as load_model
    from kmnist.metrics import Epoch as Epoch
    from kmnist.metrics import Evaluation as Evaluation
    from kmnist.server import Server as Server
    from kmnist.training.evaluation import evaluate as evaluate
    from kmnist.training.loop import Run as Run
    from kmnist.training.loop import train as train
    from kmnist.training.model import build_model as build_model

    __version__: str

_MODULES = {
    "AsyncClient": "kmnist.client",
    "Client": "kmnist.client",
    "ClientError": "kmnist.errors",
    "Dataset": "kmnist.data",
    "Epoch": "kmnist.metrics",
    "Evaluation": "kmnist.metrics",
    "InputError": "kmnist.errors",
    "KmnistError": "kmnist.errors",
    "MissingError": "kmnist.errors",
    "Prediction": "kmnist.client",
    "Predictions": "kmnist.client",
    "Run": "kmnist.training.loop",
    "Server": "kmnist.server",
    "Split": "kmnist.data",
    "build_model": "kmnist.training.model",
    "evaluate": "kmnist.training.evaluation",
    "export_model": "kmnist.export.saved_model",
    "load_dataset": "kmnist.data",
    "load_model": "kmnist.export.saved_model",
    "predict_stream": "kmnist.client.stream",
    "train": "kmnist.training.loop",
}

__all__ = [*sorted(_MODULES), "__version__"]  # noqa: PLE0604 - the keys are strings


if not TYPE_CHECKING:  # a checker would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("kmnist")
        try:
            module = _MODULES[name]
        except KeyError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        try:
            return getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            error.add_note(
                "all but the client needs pip install -c constraints.txt '.[train]' in the checkout"
            )
            raise


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
