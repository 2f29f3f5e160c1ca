"""Labels of versions."""

import doctest
from pathlib import Path

import pytest

from kmnist.errors import InputError, MissingError
from kmnist.versions import config_path, label, labels, read_labels
from tests.versions.conftest import publish_version


def test_canary_promotion_and_rollback_are_one_call_each(base: Path) -> None:
    assert label(base, {"stable": 3, "canary": 4}) == {"stable": 3, "canary": 4}
    assert label(base, {"stable": 4, "canary": None}) == {"stable": 4}
    assert label(base, {"stable": 3}) == {"stable": 3}
    assert read_labels(base) == {"stable": 3}


def test_without_changes_models_config_is_created(base: Path) -> None:
    assert label(base, {}) == {}
    assert config_path(base).exists()


def test_a_missing_version_changes_nothing(base: Path) -> None:
    label(base, {"stable": 3})
    with pytest.raises(MissingError, match="no version 9"):
        label(base, {"stable": 4, "canary": 9})
    assert read_labels(base) == {"stable": 3}


def test_a_label_that_does_not_exist_cannot_be_removed(base: Path) -> None:
    label(base, {"stable": 3})
    with pytest.raises(MissingError, match=r"no label canary of .*; existing labels: stable"):
        label(base, {"stable": 4, "canary": None})
    assert read_labels(base) == {"stable": 3}


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "..", "ü", "a b"])
def test_a_label_that_needs_escaping_in_a_url_is_rejected(base: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a label"):
        label(base, {name: 1})


def test_without_a_version_no_file_is_created(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="kmnist-train"):
        label(tmp_path / "models" / "kmnist", {"stable": 1})
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_or_an_entry_there_are_no_labels(base: Path) -> None:
    assert read_labels(base) == {}
    label(base, {"stable": 3})
    assert read_labels(base.parent / "unknown") == {}


def test_the_example_in_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        publish_version(Path("models/kmnist"))
    assert doctest.testmod(labels) == (0, 2)
