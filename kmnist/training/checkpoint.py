"""The state of a training between epochs, on disk: what it takes to go on exactly."""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmnist.errors import InputError, MissingError

__all__ = ["Checkpoint"]

_FILE = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with the state after the last finished epoch, replaced by one rename an epoch.

    Plain SGD keeps nothing but the weights, and the order of the examples is a function of seed
    and epoch, so the weights and the number of finished epochs are the whole state.

    Attributes:
        folder: Where the state is kept.
        identity: What a run has to have in common with the one that it resumes.
    """

    folder: str | os.PathLike[str]
    identity: dict[str, Any]

    @property
    def path(self) -> Path:
        """The file that holds the state."""
        return Path(self.folder) / _FILE

    def begin(self, weights: list[NDArray[Any]], epochs: int) -> None:
        """Saves the state before the first epoch.

        Raises:
            InputError: the folder holds the state of a run that did not finish.
        """
        if self.path.exists():
            _, state = self._read()
            if len(state["history"]) < state["epochs"]:
                raise InputError(
                    f"{self.path} holds an unfinished run, after epoch {len(state['history'])} of "
                    f"{state['epochs']}; resume it, or delete the file to start anew"
                )
        self.save(weights, [], epochs)

    def save(self, weights: list[NDArray[Any]], history: list[dict[str, Any]], epochs: int) -> None:
        """Replaces the state; a crash at any moment leaves the old one or the new one."""
        state = {"identity": self.identity, "history": history, "epochs": epochs}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{_FILE}.{os.getpid()}")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, *weights, state=np.array(json.dumps(state)))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
        finally:
            unfinished.unlink(missing_ok=True)

    def load(self) -> tuple[list[NDArray[Any]], list[dict[str, Any]]]:
        """The weights and the history of the epochs that are done.

        Raises:
            MissingError: there is no state to resume from.
            InputError: the file is damaged, or of a run with other data or settings.
        """
        if not self.path.exists():
            raise MissingError(f"{self.path} is not there; start the run without resuming")
        weights, state = self._read()
        there = state["identity"]
        for key, expected in self.identity.items():
            if there.get(key) != expected:
                raise InputError(
                    f"{self.path} is of a run with {key} {there.get(key)}, this one has "
                    f"{expected}; resume with the same data and settings"
                )
        return weights, state["history"]

    def _read(self) -> tuple[list[NDArray[Any]], dict[str, Any]]:
        try:
            with self.path.open("rb") as file, np.load(file) as arrays:
                state = json.loads(str(arrays["state"]))
                weights = [arrays[f"arr_{index}"] for index in range(len(arrays.files) - 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{self.path} is not a checkpoint ({error}); delete it to start anew"
            ) from error
        return weights, state
