"""``kmnist status``: what it shows, and when it fails."""

import json

import pytest
from click.testing import CliRunner

from kmnist.cli import main

pytest.importorskip("tensorflow", reason="needs TensorFlow for the model behind it")


def status(*args):
    return CliRunner().invoke(main, ["status", *map(str, args)])


@pytest.fixture(params=["grpc", "http"])
def url(request, served):
    return served.grpc_url if request.param == "grpc" else served.rest_url


def test_versions_states_labels_and_signatures(url) -> None:
    result = status("--server", url)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == f"model kmnist at {url}: ready".split()
    assert lines[2] == ["1", "AVAILABLE", "stable"]
    assert "uint8 (n, 28, 28)" in result.stdout


def test_json(url) -> None:
    found = json.loads(status("--server", url, "--json").stdout)
    assert (found["server"], found["model"], found["ready"]) == (url, "kmnist", True)
    (version,) = found["versions"]
    assert version == {
        "version": 1,
        "state": "AVAILABLE",
        "labels": ["stable"],
        "error_code": "OK",
        "error_message": "",
    }
    images = found["signatures"]["serving_default"]["inputs"]["images"]
    assert images == {"dtype": "DT_UINT8", "shape": [None, 28, 28]}


def test_a_label_has_to_be_looked_for(url) -> None:
    assert "stable" not in status("--server", url, "--probe", "other").stdout


def test_wait(url) -> None:
    assert status("--server", url, "--wait", 10).exit_code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", "fashion"], "no such model"),
        (["--version", 9], "no such version"),
    ],
)
def test_what_is_not_there(url, args, said) -> None:
    result = status("--server", url, *args)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_label_that_is_not_set_is_not_ready(url) -> None:
    result = status("--server", url, "--label", "canary")
    assert result.exit_code == 1
    assert "not ready" in result.stdout


@pytest.mark.parametrize("args", [[], ["--wait", 0.3]], ids=str)
def test_nothing_listens(args) -> None:
    result = status("--server", "http://127.0.0.1:1", *args)
    assert result.exit_code == 1
    assert "127.0.0.1:1: Connection refused; is it running" in result.stderr
    assert result.stderr.count("\n") == 1
