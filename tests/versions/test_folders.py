"""Version folders: list, publish, label and prune."""

import doctest
import multiprocessing
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.versions import (
    check_writable,
    config_path,
    folders,
    label,
    list_versions,
    prune,
    read_labels,
    stage,
    version_folder,
)
from tests.versions.conftest import publish_version

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_SPAWN = multiprocessing.get_context("spawn")


def _staging(base: Path) -> list[str]:
    return sorted(name for name in os.listdir(base) if name.startswith(".staging-"))


class TestVersions:
    def test_only_folders_named_by_a_number_are_versions(self, base: Path) -> None:
        for name in ("v5", "5.bak", "-1", "٣", ".staging-1", "9223372036854775808"):
            (base / name).mkdir()
        (base / "6").write_text("a file")
        assert list_versions(base) == [1, 2, 3, 4]

    def test_of_two_names_for_one_number_the_shorter_one_is_the_version(self, base: Path) -> None:
        (base / "004").mkdir()
        (base / "07").mkdir()
        assert list_versions(base) == [1, 2, 3, 4, 7]
        assert version_folder(base, 4) == base / "4"
        assert version_folder(base) == base / "07"

    def test_a_missing_folder_has_no_versions_and_a_file_is_refused(self, tmp_path: Path) -> None:
        assert list_versions(tmp_path / "none") == []
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="is a file, not a folder of versions"):
            list_versions(tmp_path / "file")

    def test_the_error_for_a_missing_version_lists_the_existing_ones(self, base: Path) -> None:
        with pytest.raises(MissingError, match=r"no version 9 in .*existing versions: 1, 2, 3, 4"):
            version_folder(base, 9)
        with pytest.raises(MissingError, match=r"no version in .*; train one with kmnist-train"):
            version_folder(base.parent)


class TestPublish:
    def test_the_version_is_the_highest_one_plus_1(self, base: Path) -> None:
        (base / "41").mkdir()
        (base / "42").write_text("mine")
        assert publish_version(base) == 43
        assert (base / "43" / "saved_model.pb").read_bytes() == b"model"
        assert (base / "42").read_text() == "mine"
        assert _staging(base) == []

    def test_an_error_while_staging_leaves_nothing_behind(self, base: Path) -> None:
        with pytest.raises(ZeroDivisionError), stage(base) as staged:  # noqa: PT012
            (staged / "half").touch()
            raise ZeroDivisionError
        assert list_versions(base) == [1, 2, 3, 4]
        assert _staging(base) == []

    def test_concurrent_processes_publish_different_versions(self, base: Path) -> None:
        publishers = [_SPAWN.Process(target=_publish_many, args=(base, n)) for n in (10, 10)]
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
            assert publisher.exitcode == 0
        assert list_versions(base) == list(range(1, 25))
        assert all((base / str(n) / "saved_model.pb").exists() for n in list_versions(base))
        assert _staging(base) == []

    def test_staging_deletes_the_folders_of_killed_processes_only(self, base: Path) -> None:
        pipe, child = _SPAWN.Pipe()
        killed = _SPAWN.Process(target=_stage_and_wait, args=(base, child))
        killed.start()
        left = pipe.recv()
        with stage(base) as live:
            killed.kill()
            killed.join()
            assert left.exists()
            with stage(base) as mine:
                assert sorted(base.glob(".staging-*[!k]")) == sorted((live, mine))
        assert list_versions(base) == [1, 2, 3, 4]
        assert _staging(base) == []


def _publish_many(base: Path, count: int) -> None:
    for _ in range(count):
        publish_version(base)


def _stage_and_wait(base: Path, pipe: "Connection[Path, None]") -> None:
    with stage(base) as staged:
        (staged / "saved_model.pb").touch()
        pipe.send(staged)
        pipe.recv()


class TestCheckWritable:
    def test_nothing_is_created(self, base: Path, tmp_path: Path) -> None:
        check_writable(base)
        check_writable(tmp_path / "new" / "models" / "kmnist")
        assert os.listdir(base.parent) == ["kmnist"]
        assert os.listdir(tmp_path) == ["models"]

    @pytest.mark.parametrize("name", ["file", "file/models/kmnist", "dangling/kmnist"])
    def test_a_path_that_is_not_a_folder_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        first = tmp_path / name.partition("/")[0]
        with pytest.raises(InputError, match=f"{first} is not a folder"):
            check_writable(tmp_path / name)

    def test_a_broken_models_config_is_refused(self, base: Path) -> None:
        config_path(base).write_text("garbage {")
        with pytest.raises(InputError, match=r"models\.config cannot be read"):
            check_writable(base)

    def test_a_folder_that_cannot_be_written_to_is_refused(self) -> None:
        with pytest.raises(KmnistError, match=r"^cannot write a version to /proc: "):
            check_writable("/proc/kmnist")

    def test_a_disk_without_space_is_refused(self, tmp_path: Path) -> None:
        # A limit on the size of files fails at the same point as a full disk.
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
        try:
            with pytest.raises(KmnistError, match=r"cannot write a version to .*: File too large"):
                check_writable(tmp_path / "kmnist")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestLabel:
    def test_the_example_in_the_docstring_runs(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(base.parents[1])
        assert doctest.testmod(folders) == (0, 2)
        assert read_labels(base) == {"stable": 2}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"stable": 4, "canary": 9}, "no version 9"),
            ({"stable": 4, "gone": None}, r"no label gone in .*; existing labels: stable"),
            ({"stable": 4, "a/b": 1}, "'a/b' cannot be a label: use letters"),
        ],
    )
    def test_all_changes_are_made_or_none(
        self, base: Path, changes: dict[str, int | None], message: str
    ) -> None:
        label(base, {"stable": 3})
        with pytest.raises((InputError, MissingError), match=message):
            label(base, changes)
        assert read_labels(base) == {"stable": 3}

    def test_without_a_version_no_file_is_created(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError, match="kmnist-train"):
            label(tmp_path / "models" / "kmnist", {"stable": 1})
        assert list(tmp_path.iterdir()) == []


class TestPrune:
    def test_the_newest_and_the_labelled_versions_are_kept(self, base: Path) -> None:
        label(base, {"stable": 2})
        assert prune(base, 1) == [1, 3]
        assert list_versions(base) == [2, 4]
        assert publish_version(base) == 5
        assert _staging(base) == []

    def test_a_version_that_the_policy_lists_is_kept(self, base: Path) -> None:
        config_path(base).write_text(
            "model_config_list { config { name: 'kmnist'"
            " model_version_policy { specific { versions: 1 } } } }"
        )
        assert prune(base, 1) == [2, 3]

    def test_nothing_is_deleted_without_a_number_to_keep_or_a_readable_config(
        self, base: Path
    ) -> None:
        with pytest.raises(InputError, match="keep must be at least 1, not 0"):
            prune(base, 0)
        config_path(base).write_text("garbage {")
        with pytest.raises(InputError, match="cannot be read"):
            prune(base, 1)
        assert list_versions(base) == [1, 2, 3, 4]

    def test_a_version_that_is_being_labelled_is_not_deleted(self, base: Path) -> None:
        labeller = _SPAWN.Process(target=_label_oldest, args=(base,))
        labeller.start()
        while labeller.is_alive():
            prune(base, 1)
            publish_version(base)
        labeller.join()
        assert labeller.exitcode == 0
        assert set(read_labels(base).values()) <= set(list_versions(base))


def _label_oldest(base: Path) -> None:
    for _ in range(30):
        with suppress(MissingError):  # pruned between the two calls
            label(base, {"stable": list_versions(base)[0]})
            assert read_labels(base)["stable"] in list_versions(base)
            label(base, {"stable": None})
