"""The state between epochs: kept whole, and given back only to the run it is of."""

from pathlib import Path

import numpy as np
import pytest

from kmnist.errors import InputError, MissingError
from kmnist.training.checkpoint import Checkpoint

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)]


def checkpoint(folder: Path, **identity) -> Checkpoint:
    return Checkpoint(folder / "state", {"seed": 0, **identity})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, [{"epoch": 1, "cost": 0.1}], epochs=3)
    weights, history = checkpoint(tmp_path).load()
    assert all(np.array_equal(*pair) for pair in zip(weights, WEIGHTS, strict=True))
    assert history == [{"epoch": 1, "cost": 0.1}]
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["checkpoint.npz"]


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not there; start the run without resuming"):
        checkpoint(tmp_path).load()


def test_another_runs_state_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, [], epochs=3)
    with pytest.raises(InputError, match="of a run with seed 0, this one has 1"):
        checkpoint(tmp_path, seed=1).load()


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, [{"epoch": 1}], epochs=2)
    with pytest.raises(InputError, match="unfinished run, after epoch 1 of 2; resume it, or"):
        checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, [{"epoch": 1}, {"epoch": 2}], epochs=2)
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    assert checkpoint(tmp_path).load()[1] == []


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    state = checkpoint(tmp_path)
    state.path.parent.mkdir()
    state.path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.npz is not a checkpoint"):
        state.load()
