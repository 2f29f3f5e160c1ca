"""What all commands share: lazy loading, one-line errors, exit codes, ``--json`` and ``--debug``.

Exit codes: 0 done; 1 the work failed; 2 bad usage or bad input; 130 interrupted.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import kmnist
from kmnist.errors import KmnistError

__all__ = ["Command", "Group", "LazyGroup", "json_option"]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."
)


def _exit_code(error: Exception) -> int:
    """Both error trees, the library's and the client's, carry ``exit_code``."""
    return int(getattr(error, "exit_code", 1))


def _is_expected(error: Exception) -> bool:
    """Whether the message alone tells the user what happened."""
    if isinstance(error, (KmnistError, OSError)):
        return True
    client_errors = sys.modules.get("kmnist.errors")
    return client_errors is not None and isinstance(error, client_errors.ClientError)


def _fail(message: str, code: int) -> NoReturn:
    click.echo("Error: " + " ".join(message.split()), err=True)
    sys.exit(code)


class _InterruptedError(click.ClickException):
    """Ctrl-C, with what the command says of it; click's own Abort would lose that."""

    exit_code = 130


class _OneLineErrors(click.Command):
    """Turns every failure into one line on stderr and the right exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _InterruptedError(str(interrupt) or "interrupted") from interrupt

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        # TensorFlow's start-up chatter would bury the one line that matters.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        args = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in args
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:  # interrupted before the command began
            _fail("interrupted", _InterruptedError.exit_code)
        except BrokenPipeError:
            # The reader of our output left (`| head`): nobody is there to be told.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except Exception as error:
            if debug:
                raise
            if _is_expected(error):
                _fail(str(error), _exit_code(error))
            _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)
        sys.exit(code if isinstance(code, int) else 0)


class Command(_OneLineErrors):
    """A command with ``--debug``, whose every failure is one line on stderr."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"], is_flag=True, expose_value=False, help="Show tracebacks of failures."
            )
        )


class Group(_OneLineErrors, click.Group):
    """A group whose commands are :class:`Command` unless they say otherwise."""

    command_class = Command


class LazyGroup(Group):
    """A group that imports ``MODULE.NAME`` and takes its ``command`` when NAME is run."""

    def __init__(self, name: str, *, module: str, summaries: Mapping[str, str], help: str) -> None:
        super().__init__(name, help=help)
        self._module = module
        self._summaries = summaries
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Show the version and exit.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._summaries:
            return None
        command = import_module(f"{self._module}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"kmnist {kmnist.__version__}")
        ctx.exit()
