"""``models.config`` is read as TensorFlow Serving reads it, and no change loses a part of it."""

import doctest
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from kmnist.errors import InputError, MissingError
from kmnist.versions import (
    VersionPolicy,
    config,
    config_path,
    edit,
    read_labels,
    read_model_config,
)

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


def _add(base: Path) -> Path:
    with edit(base):
        pass
    return config_path(base)


def _label(base: Path, name: str = "stable", version: int = 1) -> None:
    with edit(base) as entry:
        entry.version_labels[name] = version


def test_all_variants_of_the_text_format_are_read(variants: Path) -> None:
    model = read_model_config(variants, "kmnist")
    assert model.base_path == "/models/kmnist"
    assert model.policy == VersionPolicy(latest=None, specific=(3, 4, 5))
    assert model.labels == {"stable": 3, "canary": 4}
    assert read_model_config(variants, "other").policy == VersionPolicy(latest=2)
    assert read_model_config(variants, "plain").policy == VersionPolicy(latest=1)


def test_the_error_for_a_missing_model_or_file_says_what_to_do(variants: Path, base: Path) -> None:
    with pytest.raises(MissingError, match=r"no model mnist in .*; existing models: kmnist, other"):
        read_model_config(variants, "mnist")
    assert read_labels(base.parent / "mnist") == {}
    variants.unlink()
    with pytest.raises(MissingError, match="kmnist-train creates it"):
        read_model_config(variants, "kmnist")
    assert read_labels(base) == {}


def test_a_new_entry_loads_every_version_from_where_compose_mounts_them(base: Path) -> None:
    (base / "1").mkdir()
    path = _add(base / "1" / "..")
    assert path == base.parent / "models.config"
    model = read_model_config(path, "kmnist")
    assert (model.base_path, model.policy) == ("/models/kmnist", VersionPolicy(latest=None))
    assert "kmnist versions label" in path.read_text()
    _add(base.parent / "fashion")
    assert read_model_config(path, "fashion").base_path == "/models/fashion"
    assert read_model_config(path, "kmnist") == model


def test_a_file_that_has_the_entry_is_not_written(variants: Path, base: Path) -> None:
    _add(base)
    assert variants.read_text() == _VARIANTS


def test_a_change_keeps_leading_comments_the_mode_and_all_known_fields(base: Path) -> None:
    path = config_path(base)
    path.write_text(
        "# ours\n\nmodel_config_list { config { name: 'kmnist' base_path: '/else'"
        " logging_config { sampling_config { sampling_rate: 0.5 } } } }"
    )
    path.chmod(0o640)
    _label(base)
    text = path.read_text()
    assert text.startswith("# ours\n\nmodel_config_list")
    assert "sampling_rate: 0.5" in text
    assert read_model_config(path, "kmnist").base_path == "/else"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_change_that_would_lose_a_comment_is_refused(base: Path) -> None:
    text = "# ours\nmodel_config_list { config { name: 'kmnist'\n  # it's these\n} }\n"
    config_path(base).write_text(text)
    with pytest.raises(InputError, match="a comment in line 3, which would be lost: ") as caught:
        _label(base)
    wanted = 'config { name: "kmnist" version_labels { key: "stable" value: 1 } }'
    assert str(caught.value).endswith(f"write the entry by hand: {wanted}")
    assert config_path(base).read_text() == text


def test_an_unknown_field_is_ignored_by_readers_and_refused_by_writers(base: Path) -> None:
    path = config_path(base)
    text = 'model_config_list { config { name: "kmnist" of_tomorrow: 1 } }'
    path.write_text(text)
    assert read_model_config(path, "kmnist").name == "kmnist"
    with pytest.raises(InputError, match="of_tomorrow"):
        _label(base)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text", [b"model_config_list {", b"\xff\xfe", b"{}", b'{"model_config_list": {}}', b"models: 1"]
)
def test_a_file_of_another_format_is_refused_in_one_line(base: Path, text: bytes) -> None:
    config_path(base).write_bytes(text)
    with pytest.raises(InputError, match=r"models\.config cannot be read: ") as caught:
        read_model_config(config_path(base), "kmnist")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"models\.config cannot be read: "):
        _label(base)
    assert config_path(base).read_bytes() == text


def test_concurrent_writers_lose_no_label_and_readers_see_whole_files(base: Path) -> None:
    _add(base)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_label_many, args=(base, name)) for name in ("left", "right")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read_model_config(config_path(base), "kmnist")
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert read_labels(base) == {f"{name}{n}": n for name in ("left", "right") for n in range(25)}
    assert sorted(os.listdir(base.parent)) == [".models.config.lock", "kmnist", "models.config"]


def _label_many(base: Path, name: str) -> None:
    for n in range(25):
        _label(base, f"{name}{n}", n)


def test_a_base_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="has no name"):
        _add(Path("/"))


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(config) == (0, 1)
