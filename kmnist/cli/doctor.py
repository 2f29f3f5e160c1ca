"""``kmnist doctor``: the problems of a folder of versions or of a server, and what to do."""

import os
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kmnist.cli._base import Command
from kmnist.cli._options import (
    is_given,
    json_option,
    models_option,
    name_option,
    port_options,
    server_option,
)
from kmnist.cli._output import show_result

__all__ = ["command"]


@click.command("doctor", cls=Command)
@models_option(type=click.Path(path_type=Path, readable=False))
@server_option(default=None, envvar=None, help="Examine this server.")
@name_option
@port_options("skips its check")
@json_option
def command(
    models: Path,
    server: str | None,
    name: str | None,
    grpc_port: int,
    rest_port: int,
    as_json: bool,
) -> int:
    """Find what is wrong with a folder of versions or with a server.

    Without options, or with --models alone, the folder is examined, its versions are loaded, and
    the ports to serve them at are checked. With --server alone, the server is examined. With both,
    the server is compared with the folder as well. The exit code is 1 if there is a problem.
    """
    from kmnist.doctor import examine_folder, examine_server

    folder = models if server is None or is_given("models") else None
    reports = []
    if folder is not None:
        _start_tensorflow_for(folder)
        reports.append(examine_folder(folder, grpc_port=grpc_port, rest_port=rest_port))
    if server is not None:
        broken = reports[0].broken if reports else ()
        reports.append(examine_server(server, model=name, base=folder, broken=broken))
    healthy = all(report.is_healthy for report in reports)
    show_result({"healthy": healthy, "reports": list(map(asdict, reports))}, as_json, _print)
    return 0 if healthy else 1


def _start_tensorflow_for(models: Path) -> None:
    """Start TensorFlow without its messages if there is a version to load."""
    from kmnist.cli._tensorflow import starting_tensorflow
    from kmnist.versions import list_versions

    if os.access(models, os.R_OK) and models.is_dir() and list_versions(models):
        with starting_tensorflow():
            pass


def _print(result: dict[str, Any]) -> None:
    for report in result["reports"]:
        click.secho(report["target"], bold=True)
        for check in report["checks"]:
            if not check["findings"]:
                click.echo(f"  {click.style('ok', fg='green')}       {check['title']}")
            for finding in check["findings"]:
                _print_finding(check["title"], finding)
        findings = [finding for check in report["checks"] for finding in check["findings"]]
        problems = sum(finding["is_problem"] for finding in findings)
        warnings = len(findings) - problems
        click.echo(f"  {_count(problems, 'problem')}, {_count(warnings, 'warning')}")


def _print_finding(title: str, finding: dict[str, Any]) -> None:
    mark, colour = ("problem", "red") if finding["is_problem"] else ("warning", "yellow")
    click.echo(f"  {click.style(mark, fg=colour)}  {title}")
    for heading, key in (("found", "what"), ("why", "why"), ("do", "do")):
        # A path or a command must stay in one piece to be copied.
        lines = textwrap.wrap(finding[key], 88, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            click.echo(f"           {'' if number else heading:<7}{line}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
