"""``kmnist doctor``: what is wrong with a folder of versions or a server, and what to do."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmnist.cli._base import Command, json_option
from kmnist.errors import InputError

if TYPE_CHECKING:
    from kmnist.doctor import Report

__all__ = ["command"]

_PORT = click.IntRange(0, 65535)


@click.command(cls=Command)
@click.argument("targets", metavar="[FOLDER] [URL]", nargs=-1)
@click.option("--model", help="What the server calls the model.  [default: the folder's name]")
@click.option(
    "--grpc-port",
    type=_PORT,
    default=8500,
    show_default=True,
    help="The port here that a server will need; 0: none.",
)
@click.option(
    "--rest-port",
    type=_PORT,
    default=8501,
    show_default=True,
    help="The port here that a server will need; 0: none.",
)
@json_option
def command(
    targets: tuple[str, ...],
    model: str | None,
    grpc_port: int,
    rest_port: int,
    as_json: bool,
) -> int:
    """Find what is wrong with a served model.

    FOLDER holds the versions (default: models/kmnist); URL is a server, as
    grpc://localhost:8500 or http://localhost:8501. With both, what the server serves is compared
    with the folder. Ends with 1 if there is a problem.
    """
    from kmnist.doctor import examine_folder, examine_server

    folder, url = _sorted(targets)
    reports = []
    if folder is not None:
        reports.append(examine_folder(folder, grpc_port=grpc_port, rest_port=rest_port))
    if url is not None:
        name = model or (folder.absolute().name if folder is not None else "kmnist")
        reports.append(examine_server(url, model=name, base=folder))
    if as_json:
        click.echo(
            json.dumps({"healthy": _healthy(reports), "reports": list(map(asdict, reports))})
        )
    else:
        for report in reports:
            _print(report)
    return 0 if _healthy(reports) else 1


def _sorted(targets: tuple[str, ...]) -> tuple[Path | None, str | None]:
    urls = [target for target in targets if "://" in target]
    folders = [Path(target) for target in targets if "://" not in target]
    if len(urls) > 1 or len(folders) > 1:
        raise InputError(
            f"got {' and '.join(targets)}; expected one folder, one URL, or one of each"
        )
    if not targets:
        folders = [Path("models/kmnist")]
    return (folders[0] if folders else None), (urls[0] if urls else None)


def _healthy(reports: "list[Report]") -> bool:
    return all(report.is_healthy for report in reports)


def _print(report: "Report") -> None:
    click.secho(report.target, bold=True)
    for check in report.checks:
        if not check.findings:
            click.echo(f"  {click.style('ok', fg='green')}       {check.title}")
        for finding in check.findings:
            mark = ("problem", "red") if finding.is_problem else ("warning", "yellow")
            click.echo(f"  {click.style(mark[0], fg=mark[1])}  {check.title}: no")
            _print_part("found", finding.what)
            _print_part("why", finding.why)
            _print_part("do", finding.do)
    problems = sum(finding.is_problem for finding in report.findings)
    warnings = len(report.findings) - problems
    click.echo(f"  {_count(problems, 'problem')}, {_count(warnings, 'warning')}")


def _print_part(name: str, text: str) -> None:
    # A path or a command has to stay in one piece to be copied.
    lines = textwrap.wrap(text, 88, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        click.echo(f"           {'' if number else name:<7}{line}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
