"""``models.config``: which versions TensorFlow Serving loads, and what their labels are.

The file lies beside the models' folders (``models/models.config`` beside ``models/kmnist/``) and
is live state: a running server reads it again every few seconds. Every change is one rename under
a lock, so that no reader sees half a file and no two writers lose each other's label.

New entries say ``all {}``: every version in the folder is loaded. The default, the newest only,
would unload the version that a label points at as soon as the next one is published, and a fixed
list would never pick the next one up. ``kmnist versions prune`` bounds what is there.
"""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from kmnist.atomic import locked
from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.protocol.models_config_pb2 import ModelConfig as _ModelConfig
from kmnist.protocol.models_config_pb2 import ModelServerConfig, ServableVersionPolicy

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "config_path",
    "edit_labels",
    "ensure_model_config",
    "pinned_versions",
    "read_labels",
    "read_model_config",
]

_HEADER = (
    "# Read by TensorFlow Serving: --model_config_file, --model_config_file_poll_wait_seconds.\n"
    "# base_path is the folder as the server sees it. Labels: kmnist versions label NAME=N\n"
)


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions in the folder a server loads.

    ``specific`` loads these; otherwise the ``latest`` so many; None means every version.
    """

    latest: int | None = 1
    specific: tuple[int, ...] | None = None

    def choose(self, versions: Iterable[int]) -> list[int]:
        """Those of ``versions`` that are to be loaded, ascending."""
        there = sorted(versions)
        if self.specific is not None:
            return [version for version in there if version in self.specific]
        return there if self.latest is None else there[-self.latest :]


@dataclass(frozen=True)
class ModelConfig:
    """The entry of one model; ``base_path`` is its folder as the server sees it."""

    name: str
    base_path: str
    policy: VersionPolicy
    labels: Mapping[str, int]


def config_path(base: str | os.PathLike[str]) -> Path:
    """Where the ``models.config`` of the model in the folder ``base`` lies: beside the folder."""
    return Path(base).absolute().parent / "models.config"


def read_model_config(path: str | os.PathLike[str], name: str | None = None) -> ModelConfig:
    """The entry of the model ``name`` in a ``models.config``; None if it has only one model.

    Raises:
        MissingError: there is no such file, or no such model in it.
        InputError: the file is not what TensorFlow Serving reads.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingError(f"no file {path}; kmnist-train makes it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; expected a model_config_list") from None
    entries = list(_parse(text, path, strict=False).model_config_list.config)
    wanted = [entry for entry in entries if name in (None, entry.name)]
    if len(wanted) == 1 or (wanted and name is not None):
        return _public(wanted[0])
    there = ", ".join(entry.name for entry in entries) or "none"
    if name is None and entries:
        raise InputError(f"{path} has several models; say which of: {there}")
    raise MissingError(f"no model {name or ''} in {path}; there are: {there}")


def read_labels(base: str | os.PathLike[str]) -> dict[str, int]:
    """Label → version of the model in the folder ``base``; empty if there is no file or entry.

    Raises:
        InputError: the file there is not what TensorFlow Serving reads.
    """
    try:
        return dict(read_model_config(config_path(base), Path(base).absolute().name).labels)
    except MissingError:
        return {}


def ensure_model_config(base: str | os.PathLike[str]) -> Path:
    """Makes sure that the ``models.config`` beside the folder ``base`` has an entry for its model.

    The model's name is the folder's. A file that has the entry is left as it is.

    Returns:
        The path of the file.

    Raises:
        InputError: the file there is not what TensorFlow Serving reads, or ``base`` has no name.
        KmnistError: the file cannot be written.
    """
    with _edited(base):
        return config_path(base)


@contextmanager
def edit_labels(base: str | os.PathLike[str]) -> Iterator[dict[str, int]]:
    """The labels of the model in the folder ``base``, to change: saved at the end, if it is reached.

    Holds the lock of the file, so that what was checked inside still holds when it is saved.

    Raises:
        InputError, KmnistError: as :func:`ensure_model_config`.
    """
    with _edited(base) as entry:
        # A copy: reading a key that is not there would add it to protobuf's own map.
        labels = dict(entry.version_labels)
        yield labels
        entry.version_labels.clear()
        entry.version_labels.update(labels)


@contextmanager
def pinned_versions(base: str | os.PathLike[str]) -> Iterator[set[int]]:
    """The versions that a label or a ``specific`` policy points at, as long as the lock is held.

    Raises:
        InputError: the file there is not what TensorFlow Serving reads.
    """
    path = config_path(base)
    with locked(_lock_path(path)):
        try:
            model = read_model_config(path, Path(base).absolute().name)
        except MissingError:
            yield set()
        else:
            yield {*model.labels.values(), *(model.policy.specific or ())}


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def _edited(base: str | os.PathLike[str]) -> Iterator[_ModelConfig]:
    name = Path(base).absolute().name
    if not name:
        raise InputError(f"{base} has no name to call the model by; expected models/kmnist")
    path = config_path(base)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(_lock_path(path)):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        # Strict: what we do not know we would lose.
        config = _parse(text, path, strict=True)
        before = config.SerializeToString(deterministic=True)
        entry = _entry(config, name)
        yield entry
        if config.SerializeToString(deterministic=True) != before:
            _replace(path, (_leading_comments(text) or _HEADER) + _format(config))


def _entry(config: ModelServerConfig, name: str) -> _ModelConfig:
    for entry in config.model_config_list.config:
        if entry.name == name:
            return entry
    return config.model_config_list.config.add(
        name=name,
        base_path=f"/models/{name}",
        model_platform="tensorflow",
        model_version_policy=ServableVersionPolicy(all=ServableVersionPolicy.All()),
    )


def _parse(text: str, path: str | os.PathLike[str], *, strict: bool) -> ModelServerConfig:
    expected = "expected a model_config_list of TensorFlow Serving"
    try:
        config = text_format.Parse(text, ModelServerConfig(), allow_unknown_field=not strict)
    except text_format.ParseError as error:
        raise InputError(f"{path} cannot be read: {error}; {expected}") from None
    if not config.HasField("model_config_list") and text.removeprefix(_leading_comments(text)):
        raise InputError(f"{path} cannot be read: it has no such list; {expected}")
    return config


def _format(config: ModelServerConfig) -> str:
    return text_format.MessageToString(config, as_utf8=True)


def _leading_comments(text: str) -> str:
    """The comments a person put at the top, which the parser drops."""
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            break
        lines.append(f"{line}\n")
    return "".join(lines)


def _public(entry: _ModelConfig) -> ModelConfig:
    choice = entry.model_version_policy
    match choice.WhichOneof("policy_choice"):
        case "all":
            policy = VersionPolicy(latest=None)
        case "specific":
            policy = VersionPolicy(latest=None, specific=tuple(choice.specific.versions))
        case _:
            policy = VersionPolicy(latest=max(choice.latest.num_versions, 1))
    return ModelConfig(entry.name, entry.base_path, policy, dict(entry.version_labels))


def _replace(path: Path, text: str) -> None:
    """Puts ``text`` at ``path`` by one rename, with the mode that the file there had."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(new, "x", encoding="utf-8") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except OSError as error:
        raise KmnistError(
            f"{path} stays as it was, it cannot be written: {error.strerror}"
        ) from None
    finally:
        new.unlink(missing_ok=True)
