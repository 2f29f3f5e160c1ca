"""The result of a command as JSON, as text and as a table."""

import json
from typing import Any

import pytest
from rich.text import Text

from kmnist.cli._output import print_table, show_result


@pytest.mark.parametrize("as_json", [True, False])
def test_a_result_is_printed_as_json_or_as_text(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def print_text(result: dict[str, Any]) -> None:
        print(result["a"])  # noqa: T201

    show_result({"a": 1}, as_json, print_text)
    output = capsys.readouterr().out
    assert (json.loads(output) if as_json else output) == ({"a": 1} if as_json else "1\n")


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n"), [("a", "1"), ("bcdef", Text("23"))], right=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == ["name    n", "a       1", "bcdef  23"]


def test_cells_can_neither_style_the_table_nor_control_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("[b]x[/b]",), [("[red]y[/red]",), ("a\x1b[2Jb\nc",)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == ["[b]x[/b]", "[red]y[/red]", "a�[2Jb", "c"]
