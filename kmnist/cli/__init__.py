"""The commands: one click group ``kmnist`` with one module per command.

Modules that are not a command begin with an underscore. They and the commands import the rest of
the package on first use, so that help is printed without loading TensorFlow.
"""

from importlib import import_module
from typing import Final

import click
from click.exceptions import NoSuchCommand

from kmnist.cli._base import Group

__all__ = ["COMMANDS", "main"]

# In the order in which the data passes through them.
COMMANDS: Final = (
    "train",
    "export",
    "evaluate",
    "serve",
    "predict",
    "call",
    "status",
    "versions",
    "doctor",
    "bench",
)


class _Main(Group):
    """The group of all commands, each imported from the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = import_module(f"{__name__}.{cmd_name}").command
            return command
        if ctx.resilient_parsing:  # the completion of a shell
            return None
        raise NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)


@click.group("kmnist", cls=_Main)
@click.version_option(package_name="kmnist", message="%(prog)s %(version)s")
def main() -> None:
    """Train, serve and query softmax regression on MNIST."""
