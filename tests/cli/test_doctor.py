"""``kmnist doctor``: what it examines, what it prints, and its exit codes."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.server import Server


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def doctor(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)], env=environment)


def targets(*arguments: object, **environment: str) -> list[str]:
    output = json.loads(doctor(*arguments, "--json", **environment).stdout)
    return [report["target"] for report in output["reports"]]


def test_a_healthy_folder_ends_with_0(models: Path) -> None:
    done = doctor("--models", models)
    assert done.exit_code == 0
    assert done.output.startswith(f"{models}\n  ok       folder of versions\n")


def test_a_problem_ends_with_1_and_has_a_cause_and_a_cure(tmp_path: Path) -> None:
    done = doctor()
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[:2] == [f"{tmp_path}/models/kmnist", "  problem  folder of versions"]
    for line in ("what   there is no folder", "cause  a server", "cure   train"):
        assert f"           {line}" in done.output


def test_the_broken_versions_of_the_folder_explain_that_no_server_answers(
    models: Path, tmp_path: Path
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    for version in ("2", "3"):
        (base / version).mkdir()
    output = json.loads(doctor("--models", base, "--server", "http://127.0.0.1:1", "--json").stdout)
    assert output["healthy"] is False
    folder, server = output["reports"]
    assert folder["broken"] == [2, 3]
    (finding,) = server["checks"]["connection and model name"]
    assert set(finding) == {"what", "cause", "cure", "is_problem"}
    assert finding["cause"].startswith(f"version 2, 3 of {base} cannot be loaded")


def test_the_options_decide_what_is_examined(tmp_path: Path) -> None:
    base, url = str(tmp_path / "digits"), "grpc://127.0.0.1:1"
    environment = {"KMNIST_MODELS": base}
    assert targets() == [str(tmp_path / "models" / "kmnist")]
    assert targets("--models", base) == targets(**environment) == [base]
    assert targets("--server", url) == targets("--server", url, **environment) == [url]
    assert targets("--models", base, "--server", url) == [base, url]


def test_a_server_is_examined_under_its_name(served: Server) -> None:
    assert doctor("--server", served.grpc_url).exit_code == 0
    assert "no model digits" in doctor("--server", served.grpc_url, "--name", "digits").output
