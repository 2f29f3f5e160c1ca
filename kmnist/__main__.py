"""The commands as programs: ``kmnist``, ``kmnist-train`` and ``python -m kmnist``."""

import atexit
import os
import sys
from importlib import import_module
from typing import NoReturn

__all__ = ["main", "train"]


def main() -> NoReturn:
    """Run ``kmnist``."""
    _run("kmnist.cli", "main", "kmnist")


def train() -> NoReturn:
    """Run ``kmnist train`` as ``kmnist-train``."""
    _run("kmnist.cli.train", "command", "kmnist-train")


def _run(module: str, command: str, name: str) -> NoReturn:
    """Run a command of a module, and end the process with its exit code."""
    try:
        getattr(import_module(module), command).main(prog_name=name)
    except KeyboardInterrupt:  # during the import; the command reports a later one itself
        sys.stderr.write("Error: interrupted\n")
        sys.exit(130)
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
