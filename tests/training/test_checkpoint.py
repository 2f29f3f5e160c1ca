"""Checkpoints: saved completely, and loaded only by the run that they belong to."""

import io
import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
    weights, history = checkpoint(tmp_path).load(WEIGHTS)
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
    assert checkpoint(tmp_path).load(WEIGHTS)[1] == HISTORY[:1]


def test_resuming_without_a_checkpoint_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="does not exist; start the run without resuming"):
        checkpoint(tmp_path).load(WEIGHTS)


def test_the_checkpoint_of_another_run_is_rejected(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, [], epochs=3)
    with pytest.raises(InputError, match="of a run with seed 0; this run has 1"):
        checkpoint(tmp_path, seed=1).load(WEIGHTS)


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, HISTORY[:1], epochs=2)
    with pytest.raises(InputError, match="unfinished run, after epoch 1 of 2; resume it, or"):
        checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    checkpoint(tmp_path).save(WEIGHTS, HISTORY, epochs=2)
    checkpoint(tmp_path).begin(WEIGHTS, epochs=2)
    assert checkpoint(tmp_path).load(WEIGHTS)[1] == []


def test_the_checkpoint_of_another_model_is_rejected(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(WEIGHTS, [], epochs=3)
    for weights in (WEIGHTS[:1], [WEIGHTS[0].T, WEIGHTS[1]], [w.astype(float) for w in WEIGHTS]):
        with pytest.raises(
            InputError, match=r"of a run with weights .*; this run has .*same model"
        ):
            checkpoint(tmp_path).load(weights)


def npy(shape: str) -> bytes:
    """Return a .npy file whose header promises a shape, with 24 bytes of data."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24)


def packed(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def saved(**state: Any) -> bytes:
    """Return a checkpoint of two epochs, with parts of its state replaced."""
    file = io.BytesIO()
    entries = [asdict(epoch) for epoch in HISTORY]
    whole = {"identity": {"seed": 0}, "history": entries, "epochs": 3} | state
    np.savez(file, *WEIGHTS, state=np.array(json.dumps(whole)))
    return file.getvalue()


def in_npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def rezipped(content: bytes, name: str, member: bytes) -> bytes:
    """Replace a member of a ZIP file, with the right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()} | {name: member}
    return packed(**{each.removesuffix(".npy"): data for each, data in members.items()})


DAMAGED = {
    "empty": b"",
    "text": b"not a zip",
    "truncated": b"PK\x03\x04 truncated",
    "one array": npy("(2, 3)"),
    "pickle": pickle.dumps({"state": 1}),
    "pickled array": in_npz(state=np.array([{}], object)),
    "no state": in_npz(arr_0=WEIGHTS[0]),
    "bytes instead of an array": rezipped(saved(), "arr_0.npy", b"\x93NUMPI" + bytes(90)),
    "negative shape": packed(state=npy("(-1, 3)")),
    "terabytes": packed(state=npy("(99999999, 99999, 99999)")),
    "exabytes": packed(state=npy(f"({2**40}, {2**40})")),
    "deep header": packed(state=npy("(" * 5000)),
    "deep state": in_npz(state=np.array("[" * 100_000)),
    "state of a list": in_npz(state=np.array("[1]")),
    "state of floats": in_npz(state=np.ones(3)),
    "no epochs": saved(epochs=None),
    "infinite epochs": saved(epochs=float("inf")),
    "identity of text": saved(identity="seed"),
    "history of numbers": saved(history=[1, 2]),
    "history of text": saved(history=[asdict(HISTORY[0]) | {"cost": "low"}]),
    "history without a start": saved(history=[asdict(HISTORY[1])]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_rejected_by_name(tmp_path: Path, content: bytes) -> None:
    state = checkpoint(tmp_path)
    state.path.parent.mkdir()
    state.path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.npz is not a checkpoint"):
        state.load(WEIGHTS)


def test_every_flipped_byte_and_every_truncation_is_detected(tmp_path: Path) -> None:
    state = checkpoint(tmp_path)
    state.save(WEIGHTS, HISTORY, epochs=3)
    content = state.path.read_bytes()
    random = np.random.default_rng(0)
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= int(random.integers(1, 256))
        for damaged in (bytes(flipped), content[:position]):
            state.path.write_bytes(damaged)
            try:
                weights, history = state.load(WEIGHTS)
            except InputError:
                continue
            # Some bytes of a ZIP file, such as the times of its members, mean nothing here.
            assert history == HISTORY
            assert all(np.array_equal(*pair) for pair in zip(weights, WEIGHTS, strict=True))
