"""Versions appear and leave whole, get each number once, and keep their labels."""

import multiprocessing
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Never, Self

import pytest

from kmnist.errors import InputError, MissingError
from kmnist.versions import label, list_versions, prune, publish, stage, version_folder
from kmnist.versions.models_config import config_path, ensure_model_config, read_labels

_SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def base(tmp_path):
    """The folder of a model that has the versions 1 to 4."""
    folder = tmp_path / "models" / "kmnist"
    for _ in range(4):
        _publish(folder)
    return folder


def _publish(base: Path) -> int:
    with stage(base) as staged:
        (staged / "saved_model.pb").write_bytes(b"model")
        (staged / "variables").mkdir()
        return publish(staged, base)


def _staged(base: Path) -> list[str]:
    return sorted(name for name in os.listdir(base) if name.startswith(".staging-"))


class TestList:
    def test_only_folders_named_by_a_number_are_versions(self, base) -> None:
        for name in ("v5", "5.bak", "-1", "٣", ".staging-1", "9223372036854775808"):
            (base / name).mkdir()
        (base / "6").write_text("a file")
        assert list_versions(base) == [1, 2, 3, 4]

    def test_a_number_may_have_leading_zeros(self, base) -> None:
        (base / "007").mkdir()
        assert version_folder(base) == base / "007"
        assert _publish(base) == 8

    def test_no_folder_has_no_versions(self, tmp_path) -> None:
        assert list_versions(tmp_path / "none") == []

    def test_a_file_is_refused(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="is a file"):
            list_versions(tmp_path / "file")

    def test_a_version_that_is_not_there_names_those_that_are(self, base) -> None:
        assert version_folder(base, 2) == base / "2"
        with pytest.raises(MissingError, match=r"no version 9 in .*; there are: 1, 2, 3, 4"):
            version_folder(base, 9)

    def test_no_version_says_how_to_make_one(self, tmp_path) -> None:
        with pytest.raises(MissingError, match="kmnist-train --output"):
            version_folder(tmp_path)


class TestPublish:
    def test_the_number_is_one_more_than_the_highest(self, base) -> None:
        (base / "41").mkdir()
        assert _publish(base) == 42
        assert (base / "42" / "saved_model.pb").read_bytes() == b"model"
        assert _staged(base) == []

    def test_a_file_in_the_way_is_not_overwritten(self, base) -> None:
        (base / "5").write_text("mine")
        assert _publish(base) == 6
        assert (base / "5").read_text() == "mine"

    def test_what_fails_leaves_nothing(self, base) -> Never:
        with pytest.raises(ZeroDivisionError), stage(base) as staged:  # noqa: PT012
            (staged / "half").touch()
            raise ZeroDivisionError
        assert list_versions(base) == [1, 2, 3, 4]
        assert _staged(base) == []

    def test_a_server_of_another_user_may_read_it(self, base) -> None:
        before = os.umask(0o022)
        try:
            _publish(base)
        finally:
            os.umask(before)
        assert (base / "5").stat().st_mode & 0o005 == 0o005

    def test_two_processes_publish_every_version_once(self, base) -> None:
        publishers = [_SPAWN.Process(target=_publish_many, args=(base, n)) for n in (10, 10)]
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
            assert publisher.exitcode == 0
        assert list_versions(base) == list(range(1, 25))
        assert all((base / str(n) / "saved_model.pb").exists() for n in list_versions(base))
        assert _staged(base) == []

    def test_a_killed_run_is_swept_and_a_live_one_is_not(self, base) -> None:
        with ExitStack() as runs:
            killed, live = (runs.enter_context(_Stager(base)) for _ in range(2))
            killed.kill()
            with stage(base) as mine:
                assert sorted(map(Path, (mine, live.folder))) == sorted(base.glob(".staging-*[!k]"))
            live.finish()
        assert list_versions(base) == [1, 2, 3, 4, 5]
        assert _staged(base) == []

    def test_a_folder_that_is_a_file_is_refused(self, tmp_path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="expected a folder"), stage(tmp_path / "file"):
            pass


def _publish_many(base: Path, count: int) -> None:
    for _ in range(count):
        _publish(base)


class _Stager:
    """Another process that has staged a folder, and publishes it when told to."""

    def __init__(self, base: Path) -> None:
        self._here, there = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_stage_and_wait, args=(base, there))
        self._process.start()
        self.folder = self._here.recv()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def finish(self) -> None:
        self._here.send("publish")
        self._process.join()
        assert self._process.exitcode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _stage_and_wait(base, pipe) -> None:
    with stage(base) as staged:
        (staged / "saved_model.pb").touch()
        pipe.send(staged)
        pipe.recv()
        publish(staged, base)


class TestLabel:
    def test_canary_promote_and_roll_back_are_one_call_each(self, base) -> None:
        assert label(base, {"stable": 3, "canary": 4}) == {"stable": 3, "canary": 4}
        assert label(base, {"stable": 4, "canary": None}) == {"stable": 4}
        assert label(base, {"stable": 3}) == {"stable": 3}
        assert read_labels(base) == {"stable": 3}

    def test_a_version_that_is_not_there_changes_nothing(self, base) -> None:
        label(base, {"stable": 3})
        with pytest.raises(MissingError, match="no version 9"):
            label(base, {"stable": 4, "canary": 9})
        assert read_labels(base) == {"stable": 3}

    def test_a_label_that_is_not_there_cannot_be_taken_away(self, base) -> None:
        label(base, {"stable": 3})
        with pytest.raises(MissingError, match=r"no label canary .* there are: stable"):
            label(base, {"canary": None})

    @pytest.mark.parametrize("name", ["", "a/b", "a:b", "..", "ü", "a b"])
    def test_a_name_that_fits_no_url_is_refused(self, base, name) -> None:
        with pytest.raises(InputError, match="cannot be a label"):
            label(base, {name: 1})

    def test_no_version_makes_no_file(self, tmp_path) -> None:
        with pytest.raises(MissingError, match="kmnist-train"):
            label(tmp_path / "models" / "kmnist", {"stable": 1})
        assert list(tmp_path.iterdir()) == []


class TestPrune:
    def test_the_newest_and_the_labelled_stay(self, base) -> None:
        label(base, {"stable": 2})
        assert prune(base, 1) == [1, 3]
        assert list_versions(base) == [2, 4]
        assert _publish(base) == 5
        assert _staged(base) == []

    def test_a_version_that_the_policy_asks_for_stays(self, base) -> None:
        config_path(base).write_text(
            "model_config_list { config { name: 'kmnist'"
            " model_version_policy { specific { versions: 1 } } } }"
        )
        assert prune(base, 1) == [2, 3]

    def test_nothing_to_delete_makes_no_file(self, base) -> None:
        assert prune(base, 4) == []
        assert not config_path(base).exists()

    @pytest.mark.parametrize("keep", [0, -1])
    def test_at_least_one_is_kept(self, base, keep) -> None:
        with pytest.raises(InputError, match="expected 1 or more"):
            prune(base, keep)
        assert list_versions(base) == [1, 2, 3, 4]

    def test_an_unreadable_config_deletes_nothing(self, base) -> None:
        ensure_model_config(base).write_text("garbage {")
        with pytest.raises(InputError, match="cannot be read"):
            prune(base, 1)
        assert list_versions(base) == [1, 2, 3, 4]

    def test_a_label_and_a_prune_at_once_never_leave_a_label_without_its_version(
        self, base
    ) -> None:
        labeller = _SPAWN.Process(target=_label_oldest, args=(base,))
        labeller.start()
        while labeller.is_alive():
            prune(base, 1)
            _publish(base)
        labeller.join()
        assert labeller.exitcode == 0
        assert set(read_labels(base).values()) <= set(list_versions(base))


def _label_oldest(base) -> None:
    done = 0
    while done < 15:
        try:
            label(base, {"stable": list_versions(base)[0]})
        except MissingError:
            continue  # pruned in between: refused, as it should be
        assert read_labels(base)["stable"] in list_versions(base)
        label(base, {"stable": None})
        done += 1
