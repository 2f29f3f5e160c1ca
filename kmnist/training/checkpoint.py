"""Checkpoints: the state of a run after an epoch, on disk."""

import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kmnist.checks import one_line
from kmnist.errors import InputError, MissingError
from kmnist.files import replacing
from kmnist.metrics import Epoch

__all__ = ["Checkpoint", "State"]

_FILE: Final = "checkpoint.npz"


class State(NamedTuple):
    """The state of a run after its last finished epoch.

    SGD has no state besides the weights, and the order of the examples depends on the seed and the
    number of the epoch alone.

    Attributes:
        weights: The weights of the model, and the state of its random generators.
        best: Those of the epoch with the best validation accuracy; empty if they are not kept.
        history: The metrics of the finished epochs.
    """

    weights: list[NDArray[Any]]
    best: list[NDArray[Any]]
    history: tuple[Epoch, ...] = ()

    @property
    def best_epoch(self) -> Epoch:
        """The epoch with the best validation accuracy, the first of several."""
        return max(self.history, key=lambda epoch: epoch.validation_accuracy or 0.0)

    def after(self, epoch: Epoch, weights: list[NDArray[Any]]) -> Self:
        """Return the state after a further epoch."""
        state = self._replace(weights=weights, history=(*self.history, epoch))
        is_best = self.best and state.best_epoch is epoch
        return state._replace(best=weights) if is_best else state

    def to_bytes(self, identity: dict[str, Any]) -> bytes:
        """Return the state, and the JSON values of ``identity``, as the content of an ``.npz`` file."""
        history = [asdict(epoch) for epoch in self.history]
        text = json.dumps({"best": len(self.best), "history": history, "identity": identity})
        buffer = io.BytesIO()
        np.savez(buffer, *self.weights, *self.best, state=np.array(text))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> tuple[Self, dict[str, Any]]:
        """Return the state and the identity of :meth:`to_bytes`."""
        with np.load(io.BytesIO(content)) as arrays:
            values = json.loads(str(arrays["state"]))
            weights = [arrays[f"arr_{index}"] for index in range(len(arrays.files) - 1)]
        history = tuple(Epoch(**entry) for entry in values["history"])
        own = len(weights) - values["best"]
        return cls(weights[:own], weights[own:], history), dict(values["identity"])


class Checkpoint:
    """A folder that holds the state of a run after its last finished epoch."""

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        """Name the folder; it is created by the first save.

        Args:
            folder: The folder.
            identity: The number of ``epochs``, and the JSON values that a run and the run that
                resumes it must share, by name.
        """
        self.path = Path(folder) / _FILE
        self._identity = identity

    def begin(self, state: State) -> None:
        """Save the state before the first epoch.

        Raises:
            InputError: The folder holds the state of an unfinished run.
        """
        if self.path.exists():
            saved, identity = self._read()
            if len(saved.history) < identity["epochs"]:
                raise InputError(
                    f"{self.path} holds an unfinished run, after epoch {len(saved.history)} of "
                    f"{identity['epochs']}; resume it, or delete the file to start over"
                )
        self.save(state)

    def save(self, state: State) -> None:
        """Replace the state atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In memory first: interrupted while it writes to a file that is then closed, zipfile prints
        # an error of its own.
        content = state.to_bytes(self._identity)
        with replacing(self.path) as file:
            file.write(content)

    def load(self) -> State:
        """Return the saved state.

        Raises:
            InputError: The file is damaged, or of a run with another model, other data or other
                settings, or of more epochs.
            MissingError: There is no file.
        """
        if not self.path.exists():
            raise MissingError(f"there is no {self.path} to resume; start without resuming")
        saved, identity = self._read()
        for name, value in self._identity.items():
            if name != "epochs" and identity.get(name) != value:
                raise InputError(
                    f"{self.path} is of a run with {name} {identity.get(name)}, not {value}; resume "
                    "with the same model, data and settings"
                )
        if len(saved.history) > self._identity["epochs"]:
            raise InputError(
                f"epochs must be at least {len(saved.history)}, the last epoch of {self.path}"
            )
        return saved

    def _read(self) -> tuple[State, dict[str, Any]]:
        content = self.path.read_bytes()
        try:
            return State.from_bytes(content)
        except Exception as error:  # NumPy, zipfile and json raise errors of a dozen classes
            raise InputError(
                f"{self.path} is not a checkpoint ({one_line(error)[:200]}); delete it to start over"
            ) from error
