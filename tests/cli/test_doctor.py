"""``kmnist doctor``: what it examines, what it prints, and its exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.server import Server

Doctor = Callable[..., Result]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run ``kmnist doctor ARGUMENTS`` in an empty folder, without the checks of the ports."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, **environment: str) -> Result:
        command = ["doctor", *map(str, arguments), "--grpc-port", "0", "--rest-port", "0"]
        return CliRunner().invoke(main, command, env=environment)

    return run


def targets(done: Result) -> list[str]:
    return [report["target"] for report in json.loads(done.stdout)["reports"]]


def test_a_healthy_folder_ends_with_0(doctor: Doctor, models: Path) -> None:
    done = doctor("--models", models)
    assert done.exit_code == 0
    assert done.output.startswith(f"{models}\n  ok       ")
    assert done.output.endswith("  no problems, no warnings\n")


def test_a_problem_ends_with_1_and_has_a_cause_and_a_remedy(doctor: Doctor) -> None:
    done = doctor()
    assert done.exit_code == 1
    assert done.output.startswith("models/kmnist\n  problem  ")
    for part in (
        "           found  there is no folder",
        "           why    ",
        "           do     ",
    ):
        assert part in done.output
    assert done.output.endswith("  1 problem, no warnings\n")


def test_json_is_one_object(doctor: Doctor, models: Path) -> None:
    output = json.loads(
        doctor("--models", models, "--server", "http://127.0.0.1:1", "--json").stdout
    )
    assert output["healthy"] is False
    folder, server = output["reports"]
    assert all(check["findings"] == [] for check in folder["checks"])
    (finding,) = server["checks"][0]["findings"]
    assert set(finding) == {"what", "why", "do", "is_problem"}


def test_the_broken_version_of_the_folder_explains_that_no_server_answers(
    doctor: Doctor, models: Path, tmp_path: Path
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    (base / "1").rename(base / "2")
    (base / "1").mkdir()
    done = doctor("--models", base, "--server", "http://127.0.0.1:1", "--json")
    _, server = json.loads(done.stdout)["reports"]
    (finding,) = server["checks"][0]["findings"]
    assert finding["why"].startswith(f"version 1 of {base} cannot be loaded")


def test_the_options_decide_what_is_examined(doctor: Doctor, served: Server) -> None:
    folder, url = str(served.base), served.grpc_url
    assert targets(doctor("--json")) == ["models/kmnist"]
    assert targets(doctor("--models", folder, "--json")) == [folder]
    assert targets(doctor("--server", url, "--json")) == [url]
    assert targets(doctor("--models", folder, "--server", url, "--json")) == [folder, url]


def test_the_environment_supplies_the_folder_but_does_not_add_it(
    doctor: Doctor, served: Server
) -> None:
    environment = {"KMNIST_MODELS": str(served.base)}
    assert targets(doctor("--json", **environment)) == [str(served.base)]
    assert targets(doctor("--server", served.grpc_url, "--json", **environment)) == [
        served.grpc_url
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("models/kmnist", "unexpected extra argument (models/kmnist)"),
        ("--server ftp://localhost", "ftp"),
        ("--load", "No such option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    doctor: Doctor, arguments: str, message: str
) -> None:
    done = doctor(*arguments.split())
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
