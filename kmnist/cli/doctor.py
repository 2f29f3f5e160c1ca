"""``kmnist doctor``: the problems of a folder of versions or of a server, and what to do."""

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kmnist.cli._base import Command
from kmnist.cli._options import is_given, json_option, models_option, name_option, server_option
from kmnist.cli._output import show_result
from kmnist.cli._tensorflow import starting_tensorflow

__all__ = ["command"]


@click.command("doctor", cls=Command)
@models_option()
@server_option(default=None, envvar=None, help="Examine this server.")
@name_option
@json_option
def command(models: Path, server: str | None, name: str | None, as_json: bool) -> int:
    """Find what is wrong with a folder of versions or with a server.

    Without options, or with --models alone, the folder is examined, its versions are loaded, and
    the ports 8500 and 8501 are checked. With --server alone, the server is examined. With both,
    the server is compared with the folder as well. The exit code is 1 if there is a problem.
    """
    from kmnist.doctor import examine_folder, examine_server

    folder = models if server is None or is_given("models") else None
    reports = []
    if folder is not None:
        if any(folder.glob("[0-9]*/")):  # versions to load
            with starting_tensorflow():
                pass
        reports.append(examine_folder(folder))
    if server is not None:
        broken = reports[0].broken if reports else ()
        reports.append(examine_server(server, model=name, base=folder, broken=broken))
    healthy = all(report.is_healthy for report in reports)
    show_result({"healthy": healthy, "reports": list(map(asdict, reports))}, as_json, _print)
    return 0 if healthy else 1


def _print(result: dict[str, Any]) -> None:
    for report in result["reports"]:
        click.secho(report["target"], bold=True)
        for title, findings in report["checks"].items():
            if not findings:
                click.echo(f"  {click.style('ok', fg='green')}       {title}")
            for finding in findings:
                _print_finding(title, finding)


def _print_finding(title: str, finding: dict[str, Any]) -> None:
    mark, colour = ("problem", "red") if finding["is_problem"] else ("warning", "yellow")
    click.echo(f"  {click.style(mark, fg=colour)}  {title}")
    for name in ("what", "cause", "cure"):
        # A path or a command must stay in one piece to be copied.
        lines = textwrap.wrap(finding[name], 80, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            click.echo(f"           {'' if number else name:<7}{line}")
