"""Checkpoints: saved completely, and loaded only by the run that they belong to."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmnist import Epoch
from kmnist.errors import InputError, MissingError
from kmnist.training.checkpoint import Checkpoint, State

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)]
BEST = [2 * weights for weights in WEIGHTS]
HISTORY = (Epoch(1, 0.5, 0.8, None, None, 1.0), Epoch(2, 0.4, 0.9, 0.3, 0.95, 1.0))
STATE = State(WEIGHTS, BEST, HISTORY)


def checkpoint(folder: Path, *, seed: int = 0, epochs: int = 3) -> Checkpoint:
    return Checkpoint(folder / "state", {"epochs": epochs, "seed": seed})


def assert_equal(found: State, expected: State) -> None:
    assert found.history == expected.history
    for own, other in ((found.weights, expected.weights), (found.best, expected.best)):
        assert all(np.array_equal(*pair) for pair in zip(own, other, strict=True))


def test_saved_state_is_loaded(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(STATE)
    assert_equal(checkpoint(tmp_path, epochs=9).load(), STATE)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["checkpoint.npz"]


def test_the_best_weights_are_those_of_the_first_best_epoch() -> None:
    state = State(WEIGHTS, WEIGHTS)
    for number, accuracy in enumerate((0.5, 0.9, 0.9, 0.8), 1):
        weights = [number * values for values in WEIGHTS]
        state = state.after(Epoch(number, 1.0, 0.5, 1.0, accuracy, 1.0), weights)
    assert state.best_epoch.epoch == 2
    assert np.array_equal(state.best[0], 2 * WEIGHTS[0])
    assert np.array_equal(state.weights[0], 4 * WEIGHTS[0])


def test_resuming_without_a_checkpoint_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no .* to resume; start without"):
        checkpoint(tmp_path).load()


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint(tmp_path).begin(STATE._replace(history=()))
    checkpoint(tmp_path).save(STATE)
    with pytest.raises(InputError, match="unfinished run, after epoch 2 of 3; resume it, or"):
        checkpoint(tmp_path).begin(STATE)
    checkpoint(tmp_path, epochs=2).save(STATE)
    checkpoint(tmp_path).begin(STATE._replace(history=()))
    assert checkpoint(tmp_path).load().history == ()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 1}, "of a run with seed 0, not 1; resume with the same model, data"),
        ({"epochs": 1}, "epochs must be at least 2, the last epoch of"),
    ],
)
def test_the_checkpoint_of_another_run_is_rejected(
    tmp_path: Path, other: dict[str, int], message: str
) -> None:
    checkpoint(tmp_path).save(STATE)
    with pytest.raises(InputError, match=message):
        checkpoint(tmp_path, **other).load()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


DAMAGED = {
    "empty": b"",
    "text": b"not a zip",
    "flipped": STATE.to_bytes({"epochs": 3}).replace(WEIGHTS[0].tobytes(), bytes(24)),
    "pickle": pickle.dumps({"state": 1}),
    "pickled array": npz(state=np.array([{}], object)),
    "no state": npz(arr_0=WEIGHTS[0]),
    "history of numbers": npz(state=np.array('{"history": [1], "best": 0}')),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_rejected_by_name(tmp_path: Path, content: bytes) -> None:
    state = checkpoint(tmp_path)
    state.path.parent.mkdir()
    state.path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.npz is not a checkpoint"):
        state.load()
