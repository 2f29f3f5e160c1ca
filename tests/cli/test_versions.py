"""``kmnist versions``: list, label and prune, and rejected changes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.versions import config_path, list_versions, read_labels

Versions = Callable[..., Result]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of a model with the versions 1, 2 and 3."""
    folder = tmp_path / "models" / "kmnist"
    for version in (1, 2, 3):
        (folder / str(version)).mkdir(parents=True)
    return folder


@pytest.fixture
def versions(base: Path) -> Versions:
    """Run ``kmnist versions ARGUMENTS`` on ``base``."""
    return lambda *args: CliRunner().invoke(main, ["versions", *args, "--models", str(base)])


def test_canary_promotion_and_rollback_are_one_command_each(versions: Versions, base: Path) -> None:
    assert versions("label", "stable=2", "canary=3").output == "canary=3\nstable=2\n"
    assert versions("label", "stable=3", "canary=").output == "stable=3\n"
    assert versions("label", "stable=2").output == "stable=2\n"
    assert read_labels(base) == {"stable": 2}


def test_label_without_a_change_creates_the_file_that_the_server_needs(
    versions: Versions, base: Path
) -> None:
    assert versions("label").output == ""
    assert config_path(base).exists()
    versions("label", "stable=2")
    assert versions("label").output == "stable=2\n"
    output = json.loads(versions("label", "--json").output)
    assert output == {"models": str(base), "labels": {"stable": 2}}


def test_list_shows_the_newest_first_with_its_labels(versions: Versions, base: Path) -> None:
    versions("label", "stable=2", "good=2")
    lines = versions("list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[1].endswith("good stable")

    output = json.loads(versions("list", "--json").output)
    assert output["models"] == str(base)
    assert [(row["version"], row["labels"]) for row in output["versions"]] == [
        (3, []),
        (2, ["good", "stable"]),
        (1, []),
    ]


def test_prune_reports_the_deleted_and_the_kept_versions(versions: Versions, base: Path) -> None:
    versions("label", "stable=1")
    done = versions("prune", "--keep", "1")
    assert done.stdout == "deleted: 2\nkept:    1, 3\n"
    assert done.stderr.startswith("warning: a TensorFlow Serving that was just loading one of")
    assert versions("prune", "--keep", "1").stderr == ""
    assert list_versions(base) == [1, 3]
    output = json.loads(versions("prune", "--keep", "1", "--json").output)
    assert output == {"models": str(base), "deleted": [], "kept": [1, 3]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("label stable=9", "no version 9"),
        ("label stable", "received 'stable'; expected a label and a version"),
        ("label stable=two", "received 'stable=two'; expected a label and a version"),
        ("label stable=" + 5000 * "9", "expected a label and a version"),
        ("label a/b=1", "a/b"),
        ("label gone=", "no label gone"),
        ("prune --keep 0", "x>=1"),
        ("prune", "Missing option"),
        ("lst", "did you mean list?"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    versions: Versions, base: Path, arguments: str, message: str
) -> None:
    done = versions(*arguments.split())
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list_versions(base) == [1, 2, 3]
    assert read_labels(base) == {}


@pytest.mark.parametrize("arguments", ["list", "label a=1", "prune --keep 1"])
def test_a_folder_without_versions_names_the_command_that_trains_one(
    arguments: str, tmp_path: Path
) -> None:
    command = ["versions", *arguments.split(), "--models", str(tmp_path / "none")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "kmnist-train" in done.stderr


def test_the_environment_names_the_folder(base: Path) -> None:
    done = CliRunner().invoke(main, ["versions", "list"], env={"KMNIST_MODELS": str(base)})
    assert [line.split()[0] for line in done.output.splitlines()] == ["3", "2", "1"]


def test_a_broken_models_config_is_named(versions: Versions, base: Path) -> None:
    config_path(base).write_text("{")
    done = versions("list")
    assert done.exit_code == 2
    assert str(config_path(base)) in done.stderr
