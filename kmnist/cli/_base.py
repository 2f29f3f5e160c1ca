"""Base classes of the commands: errors in one line, exit codes, ``--debug``.

Exit codes: 0 done; 1 the work failed; 2 bad usage or bad input; 130 interrupted.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn

import click

from kmnist.checks import one_line
from kmnist.cli._stdio import flush_stdout, open_stdio
from kmnist.errors import KmnistError, ModelNotFoundError

__all__ = [
    "INTERRUPTED",
    "Command",
    "Group",
    "deferring_interrupts",
    "interrupt_on_sigterm",
]

INTERRUPTED: Final = 130

# Under this key a context keeps whether --debug was given.
_DEBUG: Final = "kmnist.cli.debug"

_interrupted: Final = threading.Event()
_deferring: Final = threading.Event()


class _OneLineErrors(click.Command):
    """A command that reports every failure in one line on stderr and exits with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            _exit(str(interrupt) or "interrupted", INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # for main; click ends silently if the reader of stdout has, as `head` does
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                raise
            # TensorFlow may have replaced the interrupt by an error of its own.
            if _interrupted.is_set():
                _exit("interrupted", INTERRUPTED)
            _exit(_message(error), error.exit_code if isinstance(error, KmnistError) else 1)
        return result

    def main(self, *args: Any, **extra: Any) -> Any:
        # The messages that TensorFlow logs at its start would bury the one line that matters.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        open_stdio()
        _interrupted.clear()
        # Not if a shell lets the command ignore Ctrl-C, as with `nohup` and in the background.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _exit(error.format_message(), error.exit_code)
        except click.Abort:  # interrupted before the command began
            _exit("interrupted", INTERRUPTED)
        finally:
            flush_stdout()
        sys.exit(code if isinstance(code, int) else 0)


class Command(_OneLineErrors):
    """A command with ``--debug``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("show_default", True)
        debug = click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=lambda ctx, _param, value: ctx.meta.update({_DEBUG: value}),
            help="Show the traceback of a failure.",
        )
        self.params.append(debug)


class Group(_OneLineErrors, click.Group):
    """A group of :class:`Command`."""

    command_class = Command


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, which ``kill`` and supervisors send, interrupt the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def deferring_interrupts() -> Iterator[Callable[[], None]]:
    """Let the first interrupt wait for the next call of the function that is yielded.

    Raised within TensorFlow's own Python, an exception may be printed, replaced or lost.
    """

    def raise_if_interrupted() -> None:
        if _interrupted.is_set():
            raise KeyboardInterrupt

    _deferring.set()
    try:
        yield raise_if_interrupted
    finally:
        _deferring.clear()
    raise_if_interrupted()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    is_first = not _interrupted.is_set()
    _interrupted.set()
    if not (is_first and _deferring.is_set()):
        raise KeyboardInterrupt


def _message(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return _missing(error.name)
    message = "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, ModelNotFoundError):
        return f"{message}; select another model with --name"
    if isinstance(error, (KmnistError, OSError)):
        return message
    return f"{type(error).__name__}: {message} (--debug shows the traceback)"


def _missing(module: str | None) -> str:
    """Say how to install a module; in a checkout, as no package index has this project."""
    install = "run pip install -c constraints.txt '.[train]' in the checkout of kmnist"
    _, minor = sys.version_info[:2]
    if minor >= 14:
        install += f" with Python 3.11 to 3.13: TensorFlow has no release for 3.{minor} yet"
    return f"no module {module}: {install}"


def _exit(message: str, code: int) -> NoReturn:
    click.echo(f"Error: {one_line(message)}", err=True)
    sys.exit(code)
