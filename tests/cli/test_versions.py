"""``kmnist versions``: what it prints, and how it refuses."""

import json

import pytest
from click.testing import CliRunner

from kmnist.cli import main
from kmnist.versions import config_path, list_versions, read_labels


@pytest.fixture
def base(tmp_path):
    """The folder of a model that has the versions 1, 2 and 3."""
    folder = tmp_path / "models" / "kmnist"
    for version in (1, 2, 3):
        (folder / str(version)).mkdir(parents=True)
    return folder


@pytest.fixture
def versions(base):
    """Runs ``kmnist versions ARGS`` on ``base``."""
    return lambda *args: CliRunner().invoke(main, ["versions", *args, "--base", str(base)])


def test_canary_promote_and_roll_back_are_one_command_each(versions, base) -> None:
    assert versions("label", "stable=2", "canary=3").output == "canary=3\nstable=2\n"
    assert versions("label", "stable=3", "canary=").output == "stable=3\n"
    assert versions("label", "stable=2").output == "stable=2\n"
    assert read_labels(base) == {"stable": 2}


def test_label_without_a_change_makes_the_file_that_the_server_needs(versions, base) -> None:
    assert versions("label").output == ""
    assert config_path(base).exists()
    versions("label", "stable=2")
    assert versions("label").output == "stable=2\n"


def test_list_shows_the_newest_first_with_its_labels(versions) -> None:
    versions("label", "stable=2", "good=2")
    lines = versions("list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[1].endswith("good stable")

    listed = json.loads(versions("list", "--json").output)["versions"]
    assert [(row["version"], row["labels"]) for row in listed] == [
        (3, []),
        (2, ["good", "stable"]),
        (1, []),
    ]


def test_prune_says_what_it_deleted_and_what_it_kept(versions, base) -> None:
    versions("label", "stable=1")
    assert versions("prune", "--keep", "1").output == "deleted: 2\nkept:    1, 3\n"
    assert list_versions(base) == [1, 3]
    result = versions("prune", "--keep", "1", "--json")
    assert json.loads(result.output) == {"base": str(base), "deleted": [], "kept": [1, 3]}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["label", "stable=9"], "no version 9"),
        (["label", "stable"], "is not NAME=N"),
        (["label", "stable=two"], "is not NAME=N"),
        (["label", "a/b=1"], "cannot be a label"),
        (["label", "gone="], "no label gone"),
        (["prune", "--keep", "0"], "x>=1"),
        (["prune"], "Missing option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(versions, base, args, said) -> None:
    result = versions(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list_versions(base) == [1, 2, 3]
    assert read_labels(base) == {}


def test_no_version_says_how_to_make_one(versions, base, tmp_path) -> None:
    for args in (["list"], ["label", "a=1"], ["prune", "--keep", "1"]):
        result = CliRunner().invoke(main, ["versions", *args, "--base", str(tmp_path / "none")])
        assert result.exit_code == 2
        assert "kmnist-train" in result.stderr


def test_a_broken_models_config_is_named(versions, base) -> None:
    config_path(base).write_text("{")
    result = versions("list")
    assert result.exit_code == 2
    assert "models.config cannot be read" in result.stderr
