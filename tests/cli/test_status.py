"""``kmnist status``: the state of a model on a server, and the exit codes."""

import json

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.server import Server


def status(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["status", *map(str, arguments)])


@pytest.fixture(params=["grpc", "http"])
def url(request: pytest.FixtureRequest, served: Server) -> str:
    return served.grpc_url if request.param == "grpc" else served.rest_url


def test_versions_states_labels_and_signatures_are_shown(url: str) -> None:
    done = status("--server", url)
    assert done.exit_code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == f"model kmnist at {url}: ready".split()
    assert lines[2] == ["1", "AVAILABLE", "stable"]
    assert "images: uint8 (n, 28, 28)" in done.stdout


def test_json_has_the_same(url: str) -> None:
    output = json.loads(status("--server", url, "--json").stdout)
    assert (output["server"], output["model"], output["ready"]) == (url, "kmnist", True)
    assert output["answers"] == 1
    (version,) = output["versions"]
    assert version == {
        "version": 1,
        "state": "AVAILABLE",
        "labels": ["stable"],
        "error_code": "OK",
        "error_message": "",
    }
    images = output["signatures"]["serving_default"]["inputs"]["images"]
    assert images == {"dtype": "DT_UINT8", "shape": [None, 28, 28]}


def test_only_the_labels_that_are_looked_up_are_shown(url: str) -> None:
    assert "stable" not in status("--server", url, "--probe", "other").stdout


def test_waiting_for_a_version_that_is_ready_ends_at_once(url: str) -> None:
    assert status("--server", url, "--wait", 10).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "fashion"], "no such model"),
        (["--version", 9], "no such version"),
    ],
)
def test_a_model_or_version_that_does_not_exist_is_one_line(
    url: str, arguments: list[object], message: str
) -> None:
    done = status("--server", url, *arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_label_that_does_not_exist_is_not_ready(url: str) -> None:
    done = status("--server", url, "--label", "canary")
    assert done.exit_code == 1
    assert "not ready" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--wait", 0.3]], ids=str)
def test_a_server_that_is_not_running_is_one_line(arguments: list[object]) -> None:
    done = status("--server", "http://127.0.0.1:1", *arguments)
    assert done.exit_code == 1
    assert "127.0.0.1:1: Connection refused; is it running" in done.stderr
    assert done.stderr.count("\n") == 1
