"""Checkpoints: the state of a run after an epoch, on disk."""

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmnist.atomic import replacing
from kmnist.errors import InputError, MissingError
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
            _, state = self._read()
            if len(state["history"]) < state["epochs"]:
                raise InputError(
                    f"{self.path} holds an unfinished run, after epoch {len(state['history'])} of "
                    f"{state['epochs']}; resume it, or delete the file to start over"
                )
        self.save(weights, [], epochs)

    def save(self, weights: list[NDArray[Any]], history: list[Epoch], epochs: int) -> None:
        """Replace the state atomically.

        Args:
            weights: The weights after the last epoch of ``history``.
            history: The finished epochs.
            epochs: The number of epochs of the run.
        """
        entries = [asdict(epoch) for epoch in history]
        state = {"identity": self.identity, "history": entries, "epochs": epochs}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as file:
            np.savez(file, *weights, state=np.array(json.dumps(state)))

    def load(self) -> tuple[list[NDArray[Any]], list[Epoch]]:
        """Return the weights and the finished epochs.

        Raises:
            InputError: The file is damaged, or the state of a run with other data or settings.
            MissingError: There is no file.
        """
        if not self.path.exists():
            raise MissingError(
                f"{self.path} does not exist; start the run without resuming, or correct the folder"
            )
        weights, state = self._read()
        for key, expected in self.identity.items():
            saved = state["identity"].get(key)
            if saved != expected:
                raise InputError(
                    f"{self.path} is of a run with {key} {saved}; this run has {expected}; resume "
                    "with the same data and settings"
                )
        return weights, [Epoch(**entry) for entry in state["history"]]

    def _read(self) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        try:
            with self.path.open("rb") as file, np.load(file) as arrays:
                state = json.loads(str(arrays["state"]))
                weights = [arrays[f"arr_{index}"] for index in range(len(arrays.files) - 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{self.path} is not a checkpoint ({error}); delete it to start over"
            ) from error
        return weights, state
