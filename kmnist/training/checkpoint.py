"""Checkpoints: the state of a run after an epoch, on disk."""

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import InputError, MissingError
from kmnist.files import replacing
from kmnist.metrics import Epoch

__all__ = ["Checkpoint"]

_FILE: Final = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds the state of a run after its last finished epoch.

    SGD has no state besides the weights, and the order of the examples depends on the seed and the
    number of the epoch alone, so weights and history are the whole state.

    Attributes:
        folder: The folder.
        identity: The properties that a run and the run that resumes it must share.
    """

    folder: str | os.PathLike[str]
    identity: dict[str, Any]

    @property
    def path(self) -> Path:
        """The file that holds the state."""
        return Path(self.folder) / _FILE

    def begin(self, weights: list[NDArray[Any]], epochs: int) -> None:
        """Save the state before the first epoch.

        Args:
            weights: The initial weights.
            epochs: The number of epochs of the run.

        Raises:
            InputError: The folder holds the state of an unfinished run.
        """
        if self.path.exists():
            saved = self._read()
            if len(saved.history) < saved.epochs:
                raise InputError(
                    f"{self.path} holds an unfinished run, after epoch {len(saved.history)} of "
                    f"{saved.epochs}; resume it, or delete the file to start over"
                )
        self.save(weights, [], epochs)

    def save(self, weights: list[NDArray[Any]], history: list[Epoch], epochs: int) -> None:
        """Replace the state atomically.

        Args:
            weights: The weights after the last epoch of ``history``.
            history: The finished epochs.
            epochs: The number of epochs of the run.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # In memory first: interrupted while it writes to a file that is then closed, zipfile prints
        # an error of its own.
        state = self.pack(weights, history, epochs)
        with replacing(self.path) as file:
            file.write(state)

    def pack(self, weights: list[NDArray[Any]], history: list[Epoch], epochs: int) -> bytes:
        """Return the state as the bytes of the file; the arguments are those of :meth:`save`."""
        entries = [asdict(epoch) for epoch in history]
        state = {"identity": self.identity, "history": entries, "epochs": epochs}
        buffer = io.BytesIO()
        np.savez(buffer, *weights, state=np.array(json.dumps(state)))
        return buffer.getvalue()

    def unpack(
        self, state: bytes, model_weights: list[NDArray[Any]]
    ) -> tuple[list[NDArray[Any]], list[Epoch]]:
        """Return what :meth:`load` does, from the bytes of :meth:`pack` of another process."""
        return self._match(_parse(io.BytesIO(state)), model_weights, "the chief")

    def load(self, model_weights: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], list[Epoch]]:
        """Return the weights and the finished epochs.

        Args:
            model_weights: The weights that the returned ones are to replace.

        Raises:
            InputError: The file is damaged, or the state of a run with another model, other data or
                other settings.
            MissingError: There is no file.
        """
        if not self.path.exists():
            raise MissingError(
                f"{self.path} does not exist; start the run without resuming, or correct the folder"
            )
        return self._match(self._read(), model_weights, str(self.path))

    def _match(
        self, saved: "_State", model_weights: list[NDArray[Any]], source: str
    ) -> tuple[list[NDArray[Any]], list[Epoch]]:
        saved_properties = {**saved.identity, "weights": _forms(saved.weights)}
        for key, expected in {**self.identity, "weights": _forms(model_weights)}.items():
            found = saved_properties.get(key)
            if found != expected:
                raise InputError(
                    f"{source} is of a run with {key} {found}; this run has {expected}; resume "
                    "with the same model, data and settings"
                )
        return saved.weights, saved.history

    def _read(self) -> "_State":
        try:
            with self.path.open("rb") as file:
                return _parse(file)
        except Exception as error:  # NumPy, zipfile and json raise errors of a dozen classes
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"{self.path} is not a checkpoint ({reason}); delete it to start over"
            ) from error


class _State(NamedTuple):
    weights: list[NDArray[Any]]
    identity: dict[str, Any]
    history: list[Epoch]
    epochs: int


def _parse(file: BinaryIO) -> _State:
    with np.load(file) as arrays:
        state = json.loads(str(arrays["state"]))
        weights = [arrays[f"arr_{index}"] for index in range(len(arrays.files) - 1)]
    if not all(isinstance(weight, np.ndarray) for weight in weights):  # NumPy returned its bytes
        raise ValueError("a member is not an array")
    history = [Epoch(**entry) for entry in state["history"]]
    for number, epoch in enumerate(history, 1):
        values = [value for value in asdict(epoch).values() if value is not None]
        if epoch.epoch != number or not all(isinstance(value, int | float) for value in values):
            raise ValueError(f"its epoch {number} is {epoch}")
    return _State(weights, dict(state["identity"]), history, int(state["epochs"]))


def _forms(weights: list[NDArray[Any]]) -> list[str]:
    return [f"{weight.dtype} {weight.shape}" for weight in weights]
