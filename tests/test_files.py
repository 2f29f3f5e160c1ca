"""Atomic replacement of files, and locks between processes."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kmnist.files import locked, replacing


def test_a_file_is_created_and_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.touch(0o640)
    path.chmod(0o640)
    for content in (b"old", b"new"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["state"]


def test_an_error_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:  # noqa: PT012
        file.write(b"half of the new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_the_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_the_rest_of_a_killed_writer_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "state"
    code = f"""
import os, signal
from kmnist.files import replacing
with replacing({str(path)!r}) as file:
    file.write(b"a long rest" * 1000)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert os.listdir(tmp_path) == [".state.partial"]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["state"]


def test_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "state"
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def write(content: bytes) -> None:
        with replacing(path) as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])

    with ThreadPoolExecutor() as executor:
        list(executor.map(write, contents))
    assert path.read_bytes() in contents


def test_a_lock_is_exclusive_and_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), pytest.raises(BlockingIOError), locked(path, wait=False):
        pass
    with locked(path, wait=False):
        pass


def test_a_lock_whose_file_was_deleted_is_taken_on_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding, waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path):
            holding.set()
            waiting.wait(10)
            path.unlink()

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(10)
    waiting.set()
    with locked(path) as handle:
        assert os.path.samestat(os.fstat(handle), os.stat(path))
    thread.join()
