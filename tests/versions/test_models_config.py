"""``models.config`` is read as TensorFlow Serving reads it, and no change loses a part of it."""

import doctest
import errno
import multiprocessing
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Never

import pytest
from google.protobuf import text_format

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.versions import (
    VersionPolicy,
    config_path,
    ensure_model_config,
    models_config,
    read_model_config,
)
from kmnist.versions.models_config import edit_entry, pinned_versions

# All variants of the text format: comments, single quotes, `<>`, commas, colons before braces.
_VARIANTS = """
# two models
model_config_list: <
  config: { name: 'kmnist', base_path: "/models/" 'kmnist'; model_platform: "tensorflow",
    model_version_policy { specific { versions: 3 versions: [4, 5] } }  # these three
    version_labels [{ key: "stable" value: 3 }, { key: 'canary', value: 0x4 }]
  }
  config { name: "other" base_path: "/models/other" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } } }
  config { name: "plain" base_path: "/models/plain" model_type: TENSORFLOW }
>
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty folder of versions."""
    folder = tmp_path / "models" / "kmnist"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def variants(base: Path) -> Path:
    """A models.config with three models, in all variants of the text format."""
    config_path(base).write_text(_VARIANTS)
    return config_path(base)


def _label(base: Path, name: str = "stable", version: int = 1) -> None:
    with edit_entry(base) as entry:
        entry.version_labels[name] = version


def test_all_variants_of_the_text_format_are_read(variants: Path) -> None:
    model = read_model_config(variants, "kmnist")

    assert model.base_path == "/models/kmnist"
    assert model.policy == VersionPolicy(latest=None, specific=(3, 4, 5))
    assert model.labels == {"stable": 3, "canary": 4}
    assert read_model_config(variants, "other").policy == VersionPolicy(latest=2)
    assert read_model_config(variants, "plain").policy == VersionPolicy(latest=1)


def test_the_error_for_a_missing_model_lists_the_existing_ones(variants: Path) -> None:
    with pytest.raises(
        MissingError, match=r"no model mnist in .*; existing models: kmnist, other, plain"
    ):
        read_model_config(variants, "mnist")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), [7]),
        (VersionPolicy(latest=2), [3, 7]),
        (VersionPolicy(latest=None), [1, 3, 7]),
        (VersionPolicy(latest=None, specific=(3, 9)), [3]),
    ],
)
def test_a_policy_chooses_versions(policy: VersionPolicy, chosen: list[int]) -> None:
    assert policy.choose([7, 1, 3]) == chosen


def test_a_new_file_conforms_to_the_schema_of_tensorflow_serving(base: Path) -> None:
    official = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")

    path = ensure_model_config(base)

    assert path == base.parent / "models.config"
    config = text_format.Parse(path.read_text(), official.ModelServerConfig())
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("kmnist", "/models/kmnist")
    assert entry.model_platform == "tensorflow"
    assert entry.model_version_policy.WhichOneof("policy_choice") == "all"


def test_a_file_that_has_the_entry_is_not_written(variants: Path, base: Path) -> None:
    before = variants.stat()
    ensure_model_config(base)
    assert variants.read_text() == _VARIANTS
    assert variants.stat().st_ino == before.st_ino


def test_a_file_that_has_the_entry_may_be_in_a_folder_that_cannot_be_written_to(
    variants: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> Never:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(models_config, "_lock", refuse)
    assert ensure_model_config(base) == variants


def test_the_name_of_a_model_is_that_of_the_folder_that_the_path_leads_to(base: Path) -> None:
    (base / "1").mkdir()
    path = ensure_model_config(base / "1" / "..")
    assert path == base.parent / "models.config"
    assert read_model_config(path, "kmnist").base_path == "/models/kmnist"


def test_an_entry_is_added_to_the_existing_ones(variants: Path, base: Path) -> None:
    variants.write_text(_VARIANTS.replace("  # these three", ""))
    ensure_model_config(base.parent / "fashion")
    assert read_model_config(variants, "fashion").base_path == "/models/fashion"
    assert read_model_config(variants, "kmnist").labels == {"stable": 3, "canary": 4}


def test_a_change_keeps_leading_comments_the_mode_and_all_known_fields(base: Path) -> None:
    path = config_path(base)
    path.write_text(
        "# ours\n\nmodel_config_list { config { name: 'kmnist' base_path: '/else#where'"
        " logging_config { sampling_config { sampling_rate: 0.5 } } } }"
    )
    path.chmod(0o640)
    _label(base)
    text = path.read_text()
    assert text.startswith("# ours\n\nmodel_config_list")
    assert "sampling_rate: 0.5" in text
    assert read_model_config(path, "kmnist").base_path == "/else#where"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("comment", ["  # it's these three", '# "'])
def test_a_change_that_would_lose_a_comment_is_refused(base: Path, comment: str) -> None:
    path = config_path(base)
    text = f"# ours\nmodel_config_list {{ config {{ name: 'kmnist'\n{comment}\n}} }}\n"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        _label(base)
    assert "a comment in line 3, which would be lost" in str(caught.value)
    wanted = 'config { name: "kmnist" version_labels { key: "stable" value: 1 } }'
    assert str(caught.value).endswith(f"write the entry by hand: {wanted}")
    assert path.read_text() == text


def test_the_target_of_a_symbolic_link_is_changed(base: Path, tmp_path: Path) -> None:
    target = tmp_path / "shared.config"
    target.touch()
    config_path(base).symlink_to(target)
    _label(base)
    assert config_path(base).is_symlink()
    assert read_model_config(target, "kmnist").labels == {"stable": 1}


def test_an_unknown_field_is_ignored_by_readers_and_refused_by_writers(base: Path) -> None:
    path = config_path(base)
    text = 'model_config_list { config { name: "kmnist" of_tomorrow: 1 } }'
    path.write_text(text)
    assert read_model_config(path, "kmnist").name == "kmnist"
    with pytest.raises(InputError, match="of_tomorrow"):
        _label(base)
    assert path.read_text() == text


def test_an_error_during_a_change_writes_nothing(base: Path) -> None:
    ensure_model_config(base)
    with suppress(ZeroDivisionError), edit_entry(base) as entry:
        entry.version_labels["stable"] = 1
        raise ZeroDivisionError
    assert read_model_config(config_path(base), "kmnist").labels == {}


def test_a_full_disk_leaves_the_file_unchanged(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_model_config(base)
    before = config_path(base).read_text()

    def full(_handle: int) -> Never:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KmnistError, match=r"cannot be written and is unchanged: No space left"):
        _label(base)
    assert config_path(base).read_text() == before
    assert sorted(os.listdir(base.parent)) == [".models.config.lock", "kmnist", "models.config"]


@pytest.mark.parametrize(
    "text", [b"model_config_list {", b"\xff\xfe", b"{}", b'{"model_config_list": {}}', b"models: 1"]
)
def test_a_file_of_another_format_is_rejected_in_one_line(base: Path, text: bytes) -> None:
    config_path(base).write_bytes(text)
    with pytest.raises(InputError) as caught:
        read_model_config(config_path(base), "kmnist")
    with pytest.raises(InputError, match="expected a model_config_list"):
        _label(base)
    assert "\n" not in str(caught.value)
    assert "expected a model_config_list" in str(caught.value)


def test_the_error_for_a_missing_file_names_the_command_to_run(base: Path) -> None:
    with pytest.raises(MissingError, match="kmnist-train creates it"):
        read_model_config(config_path(base), "kmnist")


def test_versions_with_a_label_or_in_the_policy_are_pinned(variants: Path, base: Path) -> None:
    with pinned_versions(base) as pinned:
        assert pinned == {3, 4, 5}
    variants.unlink()
    with pinned_versions(base) as pinned:
        assert pinned == set()


def test_concurrent_writers_lose_no_label_and_readers_see_whole_files(base: Path) -> None:
    ensure_model_config(base)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_label_many, args=(base, name)) for name in ("left", "right")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read_model_config(config_path(base), "kmnist")
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0

    labels = read_model_config(config_path(base), "kmnist").labels
    assert labels == {f"{name}{n}": n for name in ("left", "right") for n in range(25)}
    assert sorted(os.listdir(base.parent)) == [".models.config.lock", "kmnist", "models.config"]


def _label_many(base: Path, name: str) -> None:
    for n in range(25):
        _label(base, f"{name}{n}", n)


def test_a_base_without_a_name_is_rejected() -> None:
    with pytest.raises(InputError, match="has no name"):
        ensure_model_config("/")


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(models_config) == (0, 1)
