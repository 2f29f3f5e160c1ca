"""``kmnist doctor``: what it prints, and its exit codes."""

import json

import pytest
from click.testing import CliRunner

from kmnist.cli import main


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Runs ``kmnist doctor ARGS`` in an empty folder, without a look at ports."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(
        main, ["doctor", *args, "--grpc-port", "0", "--rest-port", "0"]
    )


def test_a_healthy_folder_ends_with_0(doctor, models) -> None:
    result = doctor(str(models))
    assert result.exit_code == 0
    assert "  ok       loading of every version\n" in result.output
    assert result.output.endswith("  no problems, no warnings\n")


def test_a_problem_ends_with_1_and_says_what_why_and_what_to_do(doctor) -> None:
    result = doctor()
    assert result.exit_code == 1
    assert result.output.startswith(
        "models/kmnist\n  problem  folder of versions"
    )
    for part in ("found  there is no folder", "why    a server waits", "do     train a version"):
        assert part in result.output
    assert result.output.endswith("  1 problem, no warnings\n")


def test_json_is_one_object(doctor, models) -> None:
    told = json.loads(doctor(str(models), "http://127.0.0.1:1", "--json").stdout)
    assert told["healthy"] is False
    folder, server = told["reports"]
    assert all(check["findings"] == [] for check in folder["checks"])
    (finding,) = server["checks"][0]["findings"]
    assert set(finding) == {"what", "why", "do", "is_problem"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["a", "b"], "expected one folder, one URL, or one of each"),
        (["http://a", "http://b"], "expected one folder, one URL, or one of each"),
        (["ftp://localhost"], "ftp"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(doctor, args, said) -> None:
    result = doctor(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
