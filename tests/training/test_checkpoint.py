"""Checkpoints: saved completely, and loaded only by the run that they belong to."""

from pathlib import Path

import numpy as np
import pytest

from kmnist import Epoch
from kmnist.errors import InputError, MissingError
from kmnist.training.checkpoint import Checkpoint

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)]
HISTORY = [Epoch(1, 0.5, 0.8, None, None, 1.0), Epoch(2, 0.4, 0.9, 0.3, 0.95, 1.0)]


def checkpoint(folder: Path, *, seed: int = 0) -> Checkpoint:
    return Checkpoint(folder / "state", {"seed": seed})


def test_saved_state_is_loaded(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, HISTORY, epochs=3)
    weights, history = checkpoint(tmp_path).load()
    assert all(np.array_equal(*pair) for pair in zip(weights, WEIGHTS, strict=True))
    assert history == HISTORY
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["checkpoint.npz"]


def test_a_failed_save_keeps_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path).save(WEIGHTS, HISTORY[:1], epochs=3)

    def fail(*_arguments: object, **_arrays: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="no space left"):
        checkpoint(tmp_path).save(WEIGHTS, HISTORY, epochs=3)
    assert checkpoint(tmp_path).load()[1] == HISTORY[:1]


def test_resuming_without_a_checkpoint_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="does not exist; start the run without resuming"):
        checkpoint(tmp_path).load()


def test_the_checkpoint_of_another_run_is_rejected(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, [], epochs=3)
    with pytest.raises(InputError, match="of a run with seed 0; this run has 1"):
        checkpoint(tmp_path, seed=1).load()


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, HISTORY[:1], epochs=2)
    with pytest.raises(InputError, match="unfinished run, after epoch 1 of 2; resume it, or"):
        checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, HISTORY, epochs=2)
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    assert checkpoint(tmp_path).load()[1] == []


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_a_damaged_file_is_rejected_by_name(tmp_path: Path, content: bytes) -> None:
    state = checkpoint(tmp_path)
    state.path.parent.mkdir()
    state.path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.npz is not a checkpoint"):
        state.load()
