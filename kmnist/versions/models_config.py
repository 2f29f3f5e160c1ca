"""``models.config``: which versions TensorFlow Serving loads, and their labels.

The file is beside the folders of the models (``models/models.config`` beside ``models/kmnist/``).
A running server polls it, so every change is an atomic replacement under a lock: no reader sees
half a file, and no two writers overwrite each other's labels.

New entries have the policy ``all``: every version in the folder is loaded. TensorFlow Serving's
default, only the newest version, would unload a labelled version as soon as the next one is
published; a list of versions would exclude the next one. ``kmnist versions prune`` limits the
number of versions.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from kmnist.errors import InputError, KmnistError, MissingError
from kmnist.files import locked, replacing
from kmnist.protocol import models_config_pb2 as pb

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "config_path",
    "configured_models",
    "edit_entry",
    "ensure_model_config",
    "lacks_entry",
    "pinned_versions",
    "read_model_config",
]

_HEADER: Final = (
    "# Read by TensorFlow Serving: --model_config_file, --model_config_file_poll_wait_seconds.\n"
    "# base_path is the folder as the server sees it. Labels: kmnist versions label NAME=N\n"
)

_LEADING_COMMENTS: Final = re.compile(r"(?:[^\S\n]*(?:#.*)?\n)*")

# Strings are matched so that a # inside one is skipped.
_COMMENT_OR_STRING: Final = re.compile(r"""#|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions in the folder a server loads.

    Attributes:
        latest: The number of newest versions to load; None loads every version.
        specific: The versions to load, if listed; ``latest`` is ignored then.
    """

    latest: int | None = 1
    specific: tuple[int, ...] | None = None

    def choose(self, versions: Iterable[int]) -> list[int]:
        """Return those of ``versions`` that a server loads, ascending.

        Example:
            >>> VersionPolicy(latest=2).choose([1, 2, 10])
            [2, 10]
        """
        existing = sorted(versions)
        if self.specific is not None:
            return [version for version in existing if version in self.specific]
        return existing if self.latest is None else existing[-self.latest :]


@dataclass(frozen=True)
class ModelConfig:
    """The entry of one model.

    Attributes:
        name: The name of the model on the server.
        base_path: Its folder of versions, as the server sees it.
        policy: Which versions are loaded.
        labels: Label → version.
    """

    name: str
    base_path: str
    policy: VersionPolicy
    labels: Mapping[str, int]


def config_path(base: str | os.PathLike[str]) -> Path:
    """Return the path of the ``models.config`` beside the folder of versions ``base``."""
    return _absolute(base).parent / "models.config"


def read_model_config(path: str | os.PathLike[str], name: str) -> ModelConfig:
    """Read the entry of the model ``name`` in a ``models.config``.

    Fields that are unknown to this version of kmnist are ignored.

    Raises:
        MissingError: The file does not exist, or has no entry for the model.
        InputError: The file is not one that TensorFlow Serving can read.
    """
    try:
        text = _read(path)
    except FileNotFoundError:
        raise MissingError(f"no file {path}; kmnist-train creates it") from None
    entries = _parse(text, path, strict=False).model_config_list.config
    for entry in entries:
        if entry.name == name:
            return _model_config(entry)
    existing = ", ".join(entry.name for entry in entries) or "none"
    raise MissingError(f"no model {name} in {path}; existing models: {existing}")


def configured_models(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the models in a ``models.config``; none if it cannot be read."""
    try:
        entries = _parse(_read(path), path, strict=False).model_config_list.config
    except (InputError, OSError):
        return []
    return [entry.name for entry in entries]


def ensure_model_config(base: str | os.PathLike[str]) -> Path:
    """Add an entry for a model to its ``models.config`` unless it has one; create the file if needed.

    A file that has the entry is only read, so its folder may be read-only.

    Args:
        base: The folder of versions; its name is the name of the model.

    Returns:
        The path of the file.

    Raises:
        InputError: ``base`` is the root folder, or the file cannot be edited without losing a part
            of it.
        KmnistError: The file cannot be written.
    """
    if lacks_entry(base):
        with edit_entry(base):
            pass
    return config_path(base)


def lacks_entry(base: str | os.PathLike[str]) -> bool:
    """Return whether ``models.config`` has no entry for a model; check that it could be added.

    Args:
        base: The folder of versions; its name is the name of the model.

    Raises:
        InputError: As for :func:`ensure_model_config`.
        KmnistError: The file cannot be read.
    """
    name, path = _model_name(base), config_path(base)
    try:
        read_model_config(path, name)
    except MissingError:
        pass
    except OSError as error:
        raise KmnistError(
            f"{path} cannot be read: {error.strerror}; expected a file that this user can read"
        ) from None
    else:
        return False
    text, config = _load(path)
    _refuse_inner_comments(text, path, _find_or_add(config, name))
    return True


@contextmanager
def edit_entry(base: str | os.PathLike[str]) -> Iterator[pb.ModelConfig]:
    """Hold the lock of ``models.config`` and edit the entry of a model, new if there is none.

    The file is replaced when the block ends without an error and the entry was changed. Comments
    at the top of the file are kept.

    Args:
        base: The folder of versions; its name is the name of the model.

    Yields:
        The entry, to be changed in place.

    Raises:
        InputError: ``base`` is the root folder; the file is not one that TensorFlow Serving can
            read; or rewriting it would lose unknown fields or comments.
        KmnistError: The file cannot be written; it is unchanged.
    """
    name, path = _model_name(base), config_path(base)
    with _lock(path):
        text, config = _load(path)
        before = config.SerializeToString(deterministic=True)
        entry = _find_or_add(config, name)
        yield entry
        if config.SerializeToString(deterministic=True) != before:
            _refuse_inner_comments(text, path, entry)
            comments = _leading_comments(text)
            _write(path, (comments if "#" in comments else _HEADER) + _format(config))


@contextmanager
def pinned_versions(base: str | os.PathLike[str]) -> Iterator[set[int]]:
    """Hold the lock of ``models.config`` and yield the versions that must not be deleted.

    Args:
        base: The folder of versions.

    Yields:
        The versions that have a label or that the policy lists by number.

    Raises:
        InputError: The file is not one that TensorFlow Serving can read.
    """
    path = config_path(base)
    with _lock(path):
        try:
            model = read_model_config(path, _absolute(base).name)
        except MissingError:
            yield set()
        else:
            yield {*model.labels.values(), *(model.policy.specific or ())}


def _absolute(base: str | os.PathLike[str]) -> Path:
    # Path.absolute would keep a final "..", which is no name of a model.
    return Path(os.path.abspath(base))


def _model_name(base: str | os.PathLike[str]) -> str:
    name = _absolute(base).name
    if not name:
        raise InputError(f"{base} has no name; expected a folder of versions such as models/kmnist")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{os.fspath(base)!r} has a name that is not UTF-8; expected one that requests can contain"
        ) from None
    return name


def _load(path: Path) -> tuple[str, pb.ModelServerConfig]:
    """Return the text and the content of a file that is to be edited; empty if there is none."""
    try:
        text = _read(path)
    except FileNotFoundError:
        text = ""
    # Strict, because unknown fields would be lost.
    return text, _parse(text, path, strict=True)


def _lock(path: Path) -> AbstractContextManager[int]:
    return locked(path.with_name(f".{path.name}.lock"))


def _find_or_add(config: pb.ModelServerConfig, name: str) -> pb.ModelConfig:
    for entry in config.model_config_list.config:
        if entry.name == name:
            return entry
    return config.model_config_list.config.add(
        name=name,
        base_path=f"/models/{name}",
        model_platform="tensorflow",
        model_version_policy=pb.ServableVersionPolicy(all=pb.ServableVersionPolicy.All()),
    )


def _read(path: str | os.PathLike[str]) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; expected a model_config_list") from None
    return text if text.endswith("\n") else f"{text}\n"


def _parse(text: str, path: str | os.PathLike[str], *, strict: bool) -> pb.ModelServerConfig:
    expected = "expected a model_config_list of TensorFlow Serving"
    try:
        config = text_format.Parse(text, pb.ModelServerConfig(), allow_unknown_field=not strict)
    except text_format.ParseError as error:
        raise InputError(f"{path} cannot be read: {error}; {expected}") from None
    if not config.HasField("model_config_list") and text != _leading_comments(text):
        raise InputError(f"{path} cannot be read: it has no model_config_list; {expected}")
    return config


def _leading_comments(text: str) -> str:
    match = _LEADING_COMMENTS.match(text)
    return match[0] if match else ""


def _refuse_inner_comments(text: str, path: Path, entry: pb.ModelConfig) -> None:
    """Raise an InputError if there are comments that the parser drops."""
    for match in _COMMENT_OR_STRING.finditer(text, len(_leading_comments(text))):
        if match[0] == "#":
            line = text.count("\n", 0, match.start()) + 1
            wanted = text_format.MessageToString(entry, as_utf8=True, as_one_line=True)
            raise InputError(
                f"{path} has a comment in line {line}, which would be lost; expected comments only "
                f"at the top; move it there, or write the entry by hand: config {{ {wanted} }}"
            )


def _format(config: pb.ModelServerConfig) -> str:
    return text_format.MessageToString(config, as_utf8=True)


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise KmnistError(f"{path} cannot be written and is unchanged: {error.strerror}") from None


def _model_config(entry: pb.ModelConfig) -> ModelConfig:
    choice = entry.model_version_policy
    match choice.WhichOneof("policy_choice"):
        case "all":
            policy = VersionPolicy(latest=None)
        case "specific":
            policy = VersionPolicy(latest=None, specific=tuple(choice.specific.versions))
        case _:
            policy = VersionPolicy(latest=max(choice.latest.num_versions, 1))
    return ModelConfig(entry.name, entry.base_path, policy, dict(entry.version_labels))
