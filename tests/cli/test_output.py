"""The result of a command as a table."""

import pytest

from kmnist.cli._output import print_table


def test_a_table_is_aligned_and_its_cells_are_not_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "n"), [("[red]a", "1"), ("bcdef\n:x:", "23")], right=("n",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name     n", "[red]a   1", "bcdef   23", ":x:"]
