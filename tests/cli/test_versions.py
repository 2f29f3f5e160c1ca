"""``kmnist versions``: list, compare, label and prune, and rejected changes."""

import json
import re
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
    header, *lines = versions("list").output.splitlines()
    assert header.split()[0] == "version"
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[1].endswith("good stable")

    output = json.loads(versions("list", "--json").output)
    assert output["models"] == str(base)
    assert [(row["version"], row["labels"]) for row in output["versions"]] == [
        (3, []),
        (2, ["good", "stable"]),
        (1, []),
    ]


def test_list_shows_what_the_model_cards_say(versions: Versions, base: Path) -> None:
    name = "a folder/with a name longer than a terminal is wide/" + 40 * "x"
    card = {"test": {"accuracy": 0.92}, "data": {"name": name}, "training": {"epochs": 15}}
    (base / "1" / "model_card.json").write_text(json.dumps(card))
    (base / "2" / "model_card.json").write_text("no JSON")
    lines = versions("list").output.splitlines()
    assert lines[2].split()[3:] == ["-", "-", "-"]
    assert lines[3].rstrip().endswith(f"  0.9200      15  {name}")
    row = json.loads(versions("list", "--json").output)["versions"][2]
    assert (row["accuracy"], row["dataset"], row["epochs"]) == (0.92, name, 15)


def test_compare_shows_which_version_is_better_and_where(models: Path, tiny: Path) -> None:
    from kmnist import build_model, evaluate, export_model, load_dataset, train

    dataset = load_dataset(tiny, validation_size=100)
    base = models.parent / "compared"
    shutil.copytree(models, base)
    model = build_model()
    train(model, dataset, epochs=1)
    export_model(model, dataset, base)
    label(base, {"canary": 2})
    arguments = [
        "versions",
        "compare",
        "1",
        "canary",
        "--models",
        str(base),
        "--dataset",
        str(tiny),
    ]
    result = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    one, two = result["versions"]
    test = dataset.test
    assert (one["version"], two["version"]) == (1, 2)
    assert two["accuracy"] == evaluate(model, test).accuracy
    difference = one["right_alone"] - two["right_alone"]
    assert difference == round(200 * (one["accuracy"] - two["accuracy"])) > 20
    assert result["p_value"] < 0.001
    changes = [row["right"][1] - row["right"][0] for row in result["changed"]]
    assert sum(changes) == -difference
    assert [abs(change) for change in changes] == sorted(map(abs, changes), reverse=True)

    text = CliRunner().invoke(main, arguments).stdout
    assert f"versions 1 and 2 of {base} on the 200 test images of" in text
    assert re.search(r"^ +1 +0\.\d{4} +\d+ *$", text, re.MULTILINE)
    assert "McNemar's p " in text
    assert "right of 1  right of 2  alone of 1  alone of 2" in text

    same = CliRunner().invoke(main, [*arguments[:3], "1", *arguments[4:]]).stdout
    assert "p 1:" in same
    assert "no class has another recall" in same


@pytest.mark.parametrize(
    ("names", "message"),
    [("1 9", "no version 9"), ("1 canary", "no label 'canary'"), ("1 ²", "no label '²'")],
)
def test_compare_names_a_version_that_does_not_exist(
    versions: Versions, names: str, message: str
) -> None:
    done = versions("compare", *names.split())
    assert done.exit_code == 2
    assert message in done.stderr


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
    assert [line.split()[0] for line in done.output.splitlines()[1:]] == ["3", "2", "1"]


def test_a_broken_models_config_is_named(versions: Versions, base: Path) -> None:
    config_path(base).write_text("{")
    done = versions("list")
    assert done.exit_code == 2
    assert str(config_path(base)) in done.stderr
