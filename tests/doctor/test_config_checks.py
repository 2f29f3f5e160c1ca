"""``models.config`` and the folder of versions."""

import os
from pathlib import Path

import pytest

from kmnist.doctor import Finding
from kmnist.doctor.config_checks import check_config, check_labels
from kmnist.versions import config_path, ensure_model_config, label


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with the empty versions 1 and 2 and a ``models.config``."""
    folder = tmp_path / "models" / "kmnist"
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
    ensure_model_config(folder)
    return folder


def write(base: Path, entry: str) -> None:
    """Write a ``models.config`` with one entry."""
    config_path(base).write_text(f"model_config_list {{ config {{ {entry} }} }}")


def only(base: Path) -> Finding:
    """Return the only finding of both checks."""
    (finding,) = [*check_config(base), *check_labels(base)]
    assert finding.why
    assert finding.do
    return finding


def test_the_file_of_an_export_is_in_order(base: Path) -> None:
    assert [*check_config(base), *check_labels(base)] == []


def test_a_missing_file(base: Path) -> None:
    config_path(base).unlink()
    finding = only(base)
    assert finding.what == f"there is no {config_path(base)}"
    assert "kmnist versions label" in finding.do
    assert not finding.is_problem


def test_a_file_of_another_format(base: Path) -> None:
    config_path(base).write_text("models: [kmnist]")
    assert "cannot be read" in only(base).what


def test_a_missing_model(base: Path) -> None:
    write(base, 'name: "mnist" base_path: "/models/mnist"')
    assert only(base).what == f"{config_path(base)} has no model kmnist"


def test_a_relative_path(base: Path) -> None:
    write(base, 'name: "kmnist" base_path: "models/kmnist"')
    finding = only(base)
    assert "has the relative base_path 'models/kmnist'" in finding.what
    assert 'base_path: "/models/kmnist"' in finding.do


def test_the_path_of_another_model(base: Path) -> None:
    write(base, 'name: "kmnist" base_path: "/models/mnist"')
    finding = only(base)
    assert finding.what.endswith("has the base_path /models/mnist for the model kmnist")
    assert not finding.is_problem


def test_a_label_of_a_version_that_does_not_exist(base: Path) -> None:
    label(base, {"canary": 2})
    os.rename(base / "2", base / "3")
    finding = only(base)
    assert finding.what == "the label canary points to version 2, which does not exist"
    assert "kmnist versions label canary=3" in finding.do


def test_a_label_of_a_version_that_is_not_loaded(base: Path) -> None:
    write(base, 'name: "kmnist" base_path: "/kmnist" version_labels { key: "old" value: 1 }')
    finding = only(base)
    assert "version 1, which is not loaded: the version policy selects 2" in finding.what
    assert "all {}" in finding.do


def test_a_policy_that_selects_a_version_that_does_not_exist(base: Path) -> None:
    write(
        base,
        'name: "kmnist" base_path: "/kmnist" '
        "model_version_policy { specific { versions: 1 versions: 9 } }",
    )
    assert only(base).what == "the version policy selects versions that do not exist: 9"
