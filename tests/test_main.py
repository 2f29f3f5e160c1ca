"""``kmnist.__main__``: the commands as processes."""

import atexit
import os
import sys
from pathlib import Path
from typing import Never

import pytest

from kmnist import __main__ as programs


class _ExitedError(Exception):
    """``os._exit`` was called."""


def test_kmnist_train_is_the_command_train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kmnist-train", "--help"])
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with pytest.raises(SystemExit, match="0"):
        programs.train()
    assert capsys.readouterr().out.startswith("Usage: kmnist-train [OPTIONS]\n")


def test_an_interrupt_of_the_imports_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: str) -> Never:
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "import_module", interrupt)
    with pytest.raises(SystemExit, match="130"):
        programs.main()
    assert capsys.readouterr().err == "Error: interrupted\n"


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["nothing"], 2)])
def test_after_tensorflow_was_imported_the_process_ends_without_its_teardown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int
) -> None:
    ended: list[object] = []

    def leave(code: int) -> Never:
        ended.append(code)
        raise _ExitedError

    monkeypatch.setattr(sys, "argv", ["kmnist", *arguments])
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: ended.append("exit functions"))
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(_ExitedError):
        programs.main()
    assert ended == ["exit functions", code]
