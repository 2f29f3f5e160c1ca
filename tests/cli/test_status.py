"""``kmnist status``: the state of a model on a server, and the exit codes."""

import json

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.server import Server


def status(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, ["status", *map(str, arguments)], env=environment)


@pytest.fixture(params=["grpc_url", "rest_url"])
def url(request: pytest.FixtureRequest, served: Server) -> str:
    address: str = getattr(served, request.param)
    return address


def test_versions_states_labels_and_signatures_are_shown(url: str) -> None:
    done = status("--server", url, "--wait", 10)
    assert done.exit_code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == f"model kmnist at {url}: ready".split()
    assert lines[2] == ["1", "AVAILABLE", "stable"]
    assert "images: uint8 (n, 28, 28)" in done.stdout


def test_json_has_the_same(url: str) -> None:
    output = json.loads(status("--json", KMNIST_SERVER=url).stdout)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "fashion"], "select another model with --name"),
        (["--version", 9], "no such version"),
        (["--version", 10**20], "version"),
        (["--server", "http://127.0.0.1:1", "--wait", 0.3], "127.0.0.1:1: Connection refused"),
    ],
)
def test_a_failure_is_one_line(url: str, arguments: list[object], message: str) -> None:
    done = status("--server", url, *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_label_that_does_not_exist_is_not_ready(url: str) -> None:
    done = status("--server", url, "--label", "preview")
    assert done.exit_code == 1
    assert "not ready" in done.stdout
