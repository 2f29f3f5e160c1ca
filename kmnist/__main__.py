"""The commands as programs: ``kmnist``, ``kmnist-train`` and ``python -m kmnist``."""

import atexit
import os
import sys
from typing import NoReturn

import click

from kmnist.cli import main as kmnist

__all__ = ["main", "train"]


def main() -> NoReturn:
    """Run ``kmnist``."""
    _run(kmnist, "kmnist")


def train() -> NoReturn:
    """Run ``kmnist train`` as ``kmnist-train``."""
    from kmnist.cli.train import command

    _run(command, "kmnist-train")


def _run(command: click.Command, name: str) -> NoReturn:
    """Run a command, and end the process with its exit code."""
    try:
        command.main(prog_name=name)
    except SystemExit as end:
        if "tensorflow" not in sys.modules or not isinstance(end.code, int):
            raise
        # The command has written and closed its files, and Python takes a second to tear down
        # TensorFlow.
        atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself would run
        os._exit(end.code)
    raise AssertionError  # a command ends with SystemExit or an error


if __name__ == "__main__":
    main()
