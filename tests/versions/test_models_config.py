"""models.config is read as TensorFlow Serving reads it, and written so that nothing is lost."""

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
from kmnist.versions.models_config import (
    VersionPolicy,
    config_path,
    edit_labels,
    ensure_model_config,
    read_labels,
    read_model_config,
)

# Every liberty the text format takes: comments, single quotes, `<>`, commas, colons before braces.
_LIBERAL = """
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
def base(tmp_path):
    """The folder of a model's versions."""
    folder = tmp_path / "models" / "kmnist"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def liberal(base):
    """A models.config of three models, in every liberty of the format."""
    config_path(base).write_text(_LIBERAL)
    return config_path(base)


def test_reads_what_tensorflow_serving_reads(liberal) -> None:
    model = read_model_config(liberal, "kmnist")

    assert model.base_path == "/models/kmnist"
    assert model.policy == VersionPolicy(latest=None, specific=(3, 4, 5))
    assert model.labels == {"stable": 3, "canary": 4}
    assert read_model_config(liberal, "other").policy == VersionPolicy(latest=2)
    assert read_model_config(liberal, "plain").policy == VersionPolicy(latest=1)


def test_a_model_has_to_be_named_where_there_are_several(liberal) -> None:
    with pytest.raises(InputError, match="several models; say which of: kmnist, other, plain"):
        read_model_config(liberal)
    with pytest.raises(MissingError, match=r"no model mnist in .* there are: kmnist, other, plain"):
        read_model_config(liberal, "mnist")


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (VersionPolicy(), [7]),
        (VersionPolicy(latest=2), [3, 7]),
        (VersionPolicy(latest=None), [1, 3, 7]),
        (VersionPolicy(latest=None, specific=(3, 9)), [3]),
    ],
)
def test_a_policy_chooses_versions(policy, chosen) -> None:
    assert policy.choose([7, 1, 3]) == chosen


def test_the_first_training_makes_the_file_and_the_official_schema_reads_it(base) -> None:
    official = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")

    path = ensure_model_config(base)

    assert path == base.parent / "models.config"
    config = text_format.Parse(path.read_text(), official.ModelServerConfig())
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("kmnist", "/models/kmnist")
    assert entry.model_platform == "tensorflow"
    assert entry.model_version_policy.WhichOneof("policy_choice") == "all"


def test_a_file_that_has_the_entry_is_left_as_it_is(liberal, base) -> None:
    before = liberal.stat()
    ensure_model_config(base)
    assert liberal.read_text() == _LIBERAL
    assert liberal.stat().st_ino == before.st_ino


def test_an_entry_is_added_beside_those_there(liberal, base) -> None:
    ensure_model_config(base.parent / "fashion")
    assert read_model_config(liberal, "fashion").base_path == "/models/fashion"
    assert read_model_config(liberal, "kmnist").labels == {"stable": 3, "canary": 4}


def test_a_change_keeps_the_comments_at_the_top_the_mode_and_every_known_field(base) -> None:
    path = config_path(base)
    path.write_text(
        "# ours\n\nmodel_config_list { config { name: 'kmnist' base_path: '/elsewhere'"
        " logging_config { sampling_config { sampling_rate: 0.5 } } } }"
    )
    path.chmod(0o640)

    with edit_labels(base) as labels:
        labels["stable"] = 1

    text = path.read_text()
    assert text.startswith("# ours\n\nmodel_config_list")
    assert "sampling_rate: 0.5" in text
    assert read_model_config(path).base_path == "/elsewhere"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_field_that_is_not_known_is_read_past_and_never_dropped(base) -> None:
    path = config_path(base)
    text = 'model_config_list { config { name: "kmnist" of_tomorrow: 1 } }'
    path.write_text(text)

    assert read_model_config(path).name == "kmnist"
    with pytest.raises(InputError, match="of_tomorrow"), edit_labels(base) as labels:
        labels["stable"] = 1
    assert path.read_text() == text


def test_a_change_that_fails_writes_nothing(base) -> Never:
    ensure_model_config(base)
    with suppress(ZeroDivisionError), edit_labels(base) as labels:
        labels["stable"] = 1
        raise ZeroDivisionError
    assert read_model_config(config_path(base)).labels == {}


def test_a_full_disk_keeps_the_file(base, monkeypatch) -> None:
    ensure_model_config(base)
    before = config_path(base).read_text()

    def full(_handle) -> Never:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KmnistError, match=r"stays as it was.* No space left"):
        label(base)
    assert config_path(base).read_text() == before
    assert sorted(os.listdir(base.parent)) == [".models.config.lock", "kmnist", "models.config"]


def label(base) -> None:
    with edit_labels(base) as labels:
        labels["stable"] = 1


@pytest.mark.parametrize(
    "text", [b"model_config_list {", b"\xff\xfe", b"{}", b'{"model_config_list": {}}', b"models: 1"]
)
def test_a_file_of_another_format_is_refused_in_one_line(base, text) -> None:
    config_path(base).write_bytes(text)
    with pytest.raises(InputError) as caught:
        read_model_config(config_path(base), "kmnist")
    assert "\n" not in str(caught.value)
    assert "expected a model_config_list" in str(caught.value)


def test_no_file_has_no_labels(base, liberal) -> None:
    assert read_labels(base) == {"stable": 3, "canary": 4}
    assert read_labels(base.parent / "unknown") == {}
    liberal.unlink()
    assert read_labels(base) == {}


def test_no_file_says_what_makes_it(base) -> None:
    with pytest.raises(MissingError, match="kmnist-train makes it"):
        read_model_config(config_path(base))


def test_two_writers_lose_no_label_and_a_reader_sees_whole_files(base) -> None:
    ensure_model_config(base)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_label, args=(base, name)) for name in ("left", "right")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read_model_config(config_path(base))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0

    labels = read_model_config(config_path(base)).labels
    assert labels == {f"{name}{n}": n for name in ("left", "right") for n in range(25)}
    assert sorted(os.listdir(base.parent)) == [".models.config.lock", "kmnist", "models.config"]


def _label(base: Path, name: str) -> None:
    for n in range(25):
        with edit_labels(base) as labels:
            labels[f"{name}{n}"] = n


def test_a_base_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="no name"):
        ensure_model_config("/")
