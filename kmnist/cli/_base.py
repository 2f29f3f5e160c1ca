"""Base classes of the commands: errors in one line, exit codes, ``--debug``.

Exit codes: 0 done; 1 the work failed; 2 bad usage or bad input; 130 interrupted.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from difflib import get_close_matches
from types import FrameType
from typing import Any, Final, NoReturn

import click

from kmnist.cli._streams import close_stdout, open_streams
from kmnist.errors import KmnistError

__all__ = ["INTERRUPTED", "Command", "Group", "interrupt_on_sigterm", "was_interrupted"]

INTERRUPTED: Final = 130

# Under this key a context keeps whether --debug was given.
_DEBUG: Final = "kmnist.cli.debug"

_interrupted: Final = threading.Event()


class _OneLineErrors(click.Command):
    """A command that reports every failure in one line on stderr and exits with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            _exit(str(interrupt) or "interrupted", INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.meta.get(_DEBUG):
                raise
            # AutoGraph turns a KeyboardInterrupt into a TypeError; a child process may fail of it.
            if was_interrupted():
                _exit("interrupted", INTERRUPTED)
            _exit(_message(error), error.exit_code if isinstance(error, KmnistError) else 1)

    def main(self, *args: Any, **extra: Any) -> Any:
        # The messages that TensorFlow logs at its start would bury the one line that matters.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        open_streams()
        _interrupted.clear()
        # Not if a shell lets the command ignore Ctrl-C, as with `nohup` and in the background.
        handles_interrupt = (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler
            and threading.current_thread() is threading.main_thread()
        )
        if handles_interrupt:
            signal.signal(signal.SIGINT, _interrupt)
            sys.unraisablehook = _repeat_interrupt
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _exit(error.format_message(), error.exit_code)
        except click.Abort:  # interrupted before the command began
            _exit("interrupted", INTERRUPTED)
        except BrokenPipeError:  # the reader of stdout has ended, as in `kmnist status | head -1`
            sys.exit(1)
        except OSError as error:  # from the flush; those of the command are handled in invoke
            _exit(_message(error), 1)
        finally:
            close_stdout()
            if handles_interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                sys.unraisablehook = sys.__unraisablehook__
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
    """A group of :class:`Command` that suggests the nearest name for an unknown one."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-"):
            near = get_close_matches(name, names, 1)
            expected = f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}"
            ctx.fail(f"no command {name!r}; {expected}")
        return super().resolve_command(ctx, args)


def interrupt_on_sigterm() -> None:
    """Let SIGTERM, which ``kill`` and supervisors send, interrupt the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def was_interrupted() -> bool:
    """Return whether the command got an interrupt, whatever became of the exception."""
    return _interrupted.is_set()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    _interrupted.set()
    raise KeyboardInterrupt


def _repeat_interrupt(ignored: "sys.UnraisableHookArgs") -> None:
    """Interrupt again where Python ignores an interrupt and goes on: in a ``__del__`` method."""
    if ignored.exc_type is KeyboardInterrupt:
        # Not at once, which would be within the hook.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def _message(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"no module {error.name}; install kmnist with its dependencies: pip install kmnist"
    message = "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, (KmnistError, OSError)):
        return message
    return f"{type(error).__name__}: {message} (--debug shows the traceback)"


def _exit(message: str, code: int) -> NoReturn:
    with suppress(OSError):  # stderr cannot be written either
        click.echo("Error: " + " ".join(message.split()), err=True)
    sys.exit(code)
