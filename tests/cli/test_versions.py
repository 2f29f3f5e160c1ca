"""``kmnist versions``: list, compare, label and prune, and rejected changes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kmnist.cli import main
from kmnist.versions import config_path, label, list_versions, read_labels

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
    output = json.loads(versions("label", "stable=2", "--json").output)
    assert output == {"models": str(base), "labels": {"stable": 2}}
    assert versions("label").output == "stable=2\n"


def test_label_without_a_change_creates_the_file_that_the_server_needs(
    versions: Versions, base: Path
) -> None:
    done = versions("label")
    assert (done.stdout, done.stderr.partition(";")[0]) == ("", "no labels")
    assert config_path(base).exists()


def test_list_shows_the_newest_first_with_its_labels_and_its_card(
    versions: Versions, base: Path
) -> None:
    label(base, {"stable": 2, "good": 2})
    name = "a folder/with a name longer than a terminal is wide/" + 40 * "x"
    card = {"test": {"accuracy": 0.92}, "data": {"name": name}, "training": {"epochs": 15}}
    (base / "1" / "model_card.json").write_text(json.dumps(card))
    (base / "2" / "model_card.json").write_text("no JSON")
    header, *lines = versions("list").output.splitlines()
    assert header.split()[0] == "version"
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[1].split()[3:] == ["-", "-", "-", "good", "stable"]
    assert lines[2].rstrip().endswith(f"  0.9200      15  {name}")

    output = json.loads(versions("list", "--json").output)
    _, second, first = output["versions"]
    assert (second["version"], second["labels"]) == (2, ["good", "stable"])
    assert (first["accuracy"], first["dataset"], first["epochs"]) == (0.92, name, 15)


@pytest.mark.slow
def test_compare_shows_which_version_is_better_and_where(
    swapped: Path, models: Path, tiny: Path, tmp_path: Path
) -> None:
    base = tmp_path / models.name
    shutil.copytree(models, base)
    shutil.copytree(swapped / "1", base / "2")
    (base / "2" / "SHA256SUMS").unlink()
    label(base, {"canary": 2})
    arguments = ["versions", "compare", "1", "canary", "--models", str(base)]
    arguments += ["--dataset", str(tiny)]
    failed = CliRunner().invoke(main, [*arguments, "--json", "--fail-if-worse"])
    assert (failed.exit_code, failed.stderr) == (1, "Error: version 2 is worse than version 1\n")
    result = json.loads(failed.stdout)
    assert result["versions"] == [1, 2]
    one, two = result["right_alone"]
    better, worse = result["accuracy"]
    assert one - two == round(200 * (better - worse)) > 20
    assert result["p_value"] < 0.001
    assert all(before != after for before, after in result["recall"].values())

    text = CliRunner().invoke(main, arguments).stdout
    assert f"the 200 test images of {tiny.name}, versions of {base}:" in text
    assert ["accuracy", f"{better:.4f}", f"{worse:.4f}"] in [
        line.split() for line in text.splitlines()
    ]
    assert f"McNemar's p {result['p_value']:.2g}: " in text

    arguments[3] = "1"
    same = json.loads(CliRunner().invoke(main, [*arguments, "--json", "--fail-if-worse"]).stdout)
    assert (same["p_value"], same["recall"]) == (1, {})


def test_prune_reports_the_deleted_and_the_kept_versions(versions: Versions, base: Path) -> None:
    label(base, {"stable": 1})
    assert versions("prune", "--keep", "1").stdout == "deleted: 2\nkept: 1, 3\n"
    assert list_versions(base) == [1, 3]
    output = json.loads(versions("prune", "--keep", "1", "--json").output)
    assert output == {"models": str(base), "deleted": [], "kept": [1, 3]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare 1 9", "no version 9"),
        ("compare 1 canary", "existing labels: none"),
        ("label stable=9", "no version 9"),
        ("label stable", "'stable' is not a label and a version"),
        ("label stable=two", "'stable=two' is not a label and a version"),
        ("label a/b=1", "a/b"),
        ("label gone=", "no label gone"),
        ("prune --keep 0", "x>=1"),
        ("prune", "Missing option"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    versions: Versions, base: Path, models: Path, arguments: str, message: str
) -> None:
    shutil.copytree(models / "1", base / "1", dirs_exist_ok=True)
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
    command = ["versions", *arguments.split()]
    env = {"KMNIST_MODELS": str(tmp_path / "none")}
    done = CliRunner().invoke(main, command, env=env)
    assert done.exit_code == 2
    assert "train one with kmnist-train" in done.stderr
