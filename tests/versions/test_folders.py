"""Version folders: list, publish and prune."""

import doctest
import errno
import multiprocessing
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.versions import (
    check_writable,
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

    def test_of_two_names_for_one_number_the_shorter_one_is_the_version(self, base: Path) -> None:
        (base / "004").mkdir()
        (base / "04").mkdir()
        assert list_versions(base) == [1, 2, 3, 4]
        assert version_folder(base, 4) == base / "4"

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

    def test_no_version_is_published_that_a_server_cannot_load(self, base: Path) -> None:
        (base / str(2**63 - 2)).mkdir()
        assert publish_version(base) == 2**63 - 1
        with pytest.raises(InputError, match="has version 9223372036854775807, and a server can"):
            publish_version(base)
        assert len(list_versions(base)) == 6
        assert _staging(base) == []

    def test_a_file_with_the_last_number_is_not_passed(self, base: Path) -> None:
        (base / str(2**63 - 2)).mkdir()
        (base / str(2**63 - 1)).touch()
        with pytest.raises(InputError, match="a server can load no higher number"):
            publish_version(base)

    def test_an_error_after_the_rename_says_that_the_version_is_published(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flush = folders._flush

        def fail_on_base(path: Path) -> None:
            if path == base:
                raise OSError(errno.EIO, "Input/output error")
            flush(path)

        monkeypatch.setattr(folders, "_flush", fail_on_base)
        with pytest.raises(KmnistError, match=r"^published .*/5, but .* Input/output error$"):
            publish_version(base)
        assert list_versions(base) == [1, 2, 3, 4, 5]

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


class TestCheckWritable:
    def test_nothing_is_created(self, base: Path, tmp_path: Path) -> None:
        check_writable(base)
        check_writable(tmp_path / "new" / "models" / "kmnist")
        assert list_versions(base) == [1, 2, 3, 4]
        assert os.listdir(base.parent) == ["kmnist"]
        assert os.listdir(tmp_path) == ["models"]

    @pytest.mark.parametrize("name", ["file", "file/models/kmnist", "dangling", "dangling/kmnist"])
    def test_a_path_that_is_not_a_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        first = tmp_path / name.partition("/")[0]
        with pytest.raises(InputError, match=f"{first} is not a folder; expected a folder"):
            check_writable(tmp_path / name)

    @pytest.mark.parametrize("base", ["/", "/.", "//"])
    def test_the_root_folder_has_no_name(self, base: str) -> None:
        with pytest.raises(InputError, match="has no name"):
            check_writable(base)

    def test_a_name_that_no_request_can_contain(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="has a name that is not UTF-8"):
            check_writable(os.fsencode(tmp_path).decode() + "/\udcff")

    def test_the_last_version(self, base: Path) -> None:
        (base / str(2**63 - 1)).mkdir()
        with pytest.raises(InputError, match="a server can load no higher number"):
            check_writable(base)

    @pytest.mark.parametrize(
        "config", ["garbage {", "model_config_list { # ours\n }", "of_tomorrow: 1"]
    )
    def test_a_models_config_that_cannot_be_edited(self, base: Path, config: str) -> None:
        config_path(base).write_text(config)
        with pytest.raises(InputError, match=r"models\.config"):
            check_writable(base)
        assert config_path(base).read_text() == config

    def test_a_models_config_that_is_a_folder(self, base: Path) -> None:
        config_path(base).mkdir()
        with pytest.raises(KmnistError, match=r"models\.config cannot be read: Is a directory"):
            check_writable(base)

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
    def test_a_folder_that_nobody_can_write_to(self) -> None:
        with pytest.raises(
            KmnistError, match=r"^/proc cannot be written to: .*; expected a folder"
        ):
            check_writable("/proc/kmnist")

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
    def test_the_target_of_a_linked_models_config_is_tried(self, base: Path) -> None:
        config_path(base).symlink_to("/proc/models.config")
        with pytest.raises(KmnistError, match=r"^/proc cannot be written to"):
            check_writable(base)

    def test_a_models_config_that_has_the_entry_need_not_be_writable(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ensure_model_config(base)
        tried: list[Path] = []
        monkeypatch.setattr(folders, "_try_to_write", lambda folder, _: tried.append(folder))
        check_writable(base)
        assert tried == [base]

    def test_a_disk_without_space(self, tmp_path: Path) -> None:
        # A limit on the size of files fails at the same point as a full disk.
        code = f"""
import resource
from kmnist.versions import check_writable
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
check_writable({str(tmp_path / "kmnist")!r})
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        message = done.stderr.splitlines()[-1]
        assert "cannot be written to: File too large; expected a folder" in message
        assert message.endswith("with 4 MiB of free space")
        assert os.listdir(tmp_path) == []


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
