"""Print the result of a command: one JSON object, or text."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import click

__all__ = ["print_table", "show_result"]

_UNLIMITED: Final = 10_000


def show_result(
    result: dict[str, Any], as_json: bool, print_text: Callable[[dict[str, Any]], None]
) -> None:
    """Print ``result`` as one JSON object, or as text with ``print_text``."""
    if as_json:
        click.echo(json.dumps(result))
    else:
        print_text(result)


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()
) -> None:
    """Print a table without borders.

    Args:
        header: The names of the columns.
        rows: One cell per column.
        right: The names of the columns that are aligned to the right.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # A program that reads the table expects each row on one line.
    width = None if sys.stdout.isatty() else _UNLIMITED
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)
