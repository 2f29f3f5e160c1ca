"""Version folders: list, publish and prune."""

import doctest
import multiprocessing
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from kmnist.errors import InputError, MissingError
from kmnist.versions import (
    config_path,
    ensure_model_config,
    folders,
    label,
    list_versions,
    prune,
    publish,
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


class TestListVersions:
    def test_only_folders_named_by_a_number_are_versions(self, base: Path) -> None:
        for name in ("v5", "5.bak", "-1", "٣", ".staging-1", "9223372036854775808"):
            (base / name).mkdir()
        (base / "6").write_text("a file")
        assert list_versions(base) == [1, 2, 3, 4]

    def test_a_missing_folder_has_no_versions(self, tmp_path: Path) -> None:
        assert list_versions(tmp_path / "none") == []

    def test_a_file_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="is a file; expected a folder of versions"):
            list_versions(tmp_path / "file")


class TestVersionFolder:
    def test_the_default_is_the_highest_version(self, base: Path) -> None:
        assert version_folder(base) == base / "4"
        assert version_folder(base, 2) == base / "2"

    def test_the_name_may_have_leading_zeros(self, base: Path) -> None:
        (base / "007").mkdir()
        assert version_folder(base) == base / "007"
        assert publish_version(base) == 8

    def test_the_error_for_a_missing_version_lists_the_existing_ones(self, base: Path) -> None:
        with pytest.raises(
            MissingError, match=r"no version 9 in .*; existing versions: 1, 2, 3, 4"
        ):
            version_folder(base, 9)

    def test_the_error_for_an_empty_folder_names_the_command_to_run(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError, match=r"no version in .*; train one with kmnist-train"):
            version_folder(tmp_path)


class TestPublish:
    def test_the_version_is_the_highest_one_plus_1(self, base: Path) -> None:
        (base / "41").mkdir()
        assert publish_version(base) == 42
        assert (base / "42" / "saved_model.pb").read_bytes() == b"model"
        assert _staging(base) == []

    def test_a_file_with_the_next_number_is_not_overwritten(self, base: Path) -> None:
        (base / "5").write_text("mine")
        assert publish_version(base) == 6
        assert (base / "5").read_text() == "mine"

    def test_an_error_while_staging_leaves_nothing_behind(self, base: Path) -> None:
        with pytest.raises(ZeroDivisionError), stage(base) as staged:  # noqa: PT012
            (staged / "half").touch()
            raise ZeroDivisionError
        assert list_versions(base) == [1, 2, 3, 4]
        assert _staging(base) == []

    def test_other_users_can_read_a_version(self, base: Path) -> None:
        before = os.umask(0o022)
        try:
            publish_version(base)
        finally:
            os.umask(before)
        assert (base / "5").stat().st_mode & 0o005 == 0o005

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
        with ExitStack() as stack:
            killed, live = (stack.enter_context(_Stager(base)) for _ in range(2))
            killed.kill()
            with stage(base) as mine:
                assert sorted(base.glob(".staging-*[!k]")) == sorted((mine, live.folder))
            live.finish()
        assert list_versions(base) == [1, 2, 3, 4, 5]
        assert _staging(base) == []

    def test_a_file_instead_of_the_folder_is_rejected(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="expected a folder"), stage(tmp_path / "file"):
            pass


def _publish_many(base: Path, count: int) -> None:
    for _ in range(count):
        publish_version(base)


class _Stager:
    """Another process that stages a folder, and publishes it on request."""

    def __init__(self, base: Path) -> None:
        self._pipe, child_pipe = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_stage_and_wait, args=(base, child_pipe))
        self._process.start()
        self.folder: Path = self._pipe.recv()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def finish(self) -> None:
        self._pipe.send("publish")
        self._process.join()
        assert self._process.exitcode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _stage_and_wait(base: Path, pipe: "Connection[Path, str]") -> None:
    with stage(base) as staged:
        (staged / "saved_model.pb").touch()
        pipe.send(staged)
        pipe.recv()
        publish(staged, base)


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

    def test_models_config_is_not_created(self, base: Path) -> None:
        assert prune(base, 4) == []
        assert not config_path(base).exists()

    @pytest.mark.parametrize("keep", [0, -1])
    def test_at_least_one_version_is_kept(self, base: Path, keep: int) -> None:
        with pytest.raises(InputError, match="expected 1 or more"):
            prune(base, keep)
        assert list_versions(base) == [1, 2, 3, 4]

    def test_nothing_is_deleted_if_models_config_cannot_be_read(self, base: Path) -> None:
        ensure_model_config(base).write_text("garbage {")
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
    done = 0
    while done < 15:
        try:
            label(base, {"stable": list_versions(base)[0]})
        except MissingError:
            continue  # pruned between the two calls
        assert read_labels(base)["stable"] in list_versions(base)
        label(base, {"stable": None})
        done += 1


@pytest.mark.parametrize(("example", "versions"), [("publish", 0), ("prune", 3)])
def test_the_example_in_the_docstring_runs(
    example: str, versions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(versions):
        publish_version(Path("models/kmnist"))
    function = getattr(folders, example)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, example, globs=vars(folders))
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))
    assert test.examples
