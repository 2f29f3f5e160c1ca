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
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from kmnist.checks import one_line
from kmnist.errors import InputError, MissingError
from kmnist.files import locked, replacing
from kmnist.protocol import models_config_pb2 as pb

__all__ = [
    "ModelConfig",
    "VersionPolicy",
    "check_label",
    "config_path",
    "edit",
    "read_labels",
    "read_model_config",
]

_HEADER: Final = (
    "# Read by TensorFlow Serving: --model_config_file, --model_config_file_poll_wait_seconds.\n"
    "# base_path is the folder as the server sees it. Labels: kmnist versions label NAME=N\n"
)

# These characters need no escaping in /v1/models/MODEL/labels/LABEL.
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


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
    path = Path(path)
    if not path.exists():
        raise MissingError(f"no file {path}; kmnist-train creates it")
    entries = _parse(_read(path), path, strict=False).model_config_list.config
    for entry in entries:
        if entry.name == name:
            return _model_config(entry)
    existing = ", ".join(entry.name for entry in entries) or "none"
    raise MissingError(f"no model {name} in {path}; existing models: {existing}")


def read_labels(base: str | os.PathLike[str]) -> dict[str, int]:
    """Return the labels of a model and their versions.

    Args:
        base: The folder of versions.

    Returns:
        Label → version; empty if ``models.config`` or its entry for the model does not exist.

    Raises:
        InputError: ``models.config`` is not a file that TensorFlow Serving can read.
    """
    try:
        return dict(read_model_config(config_path(base), _absolute(base).name).labels)
    except MissingError:
        return {}


def check_label(name: str) -> None:
    """Check that a name can be a label.

    Raises:
        InputError: It has characters that would need escaping in a URL.
    """
    if not _LABEL.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a label: use letters, digits, '_', '-' and '.', and begin with a "
            "letter or a digit"
        )


@contextmanager
def edit(base: str | os.PathLike[str]) -> Iterator[pb.ModelConfig]:
    """Hold the lock of ``models.config`` and edit the entry of a model, new if there is none.

    The file is replaced when the block ends without an error and the entry is new or was changed.
    Comments at the top of the file are kept.

    Args:
        base: The folder of versions; its name is the name of the model.

    Yields:
        The entry, to be changed in place.

    Raises:
        InputError: ``base`` is the root folder; the file is not one that TensorFlow Serving can
            read; or rewriting it would lose unknown fields or comments.
        OSError: The file cannot be written; it is unchanged.
    """
    name, path = _absolute(base).name, config_path(base)
    if not name:
        raise InputError(f"{base} has no name; use a folder of versions such as models/kmnist")
    with locked(path.with_name(f".{path.name}.lock")):
        text = _read(path) if path.exists() else ""
        config = _parse(text, path, strict=True)  # unknown fields would be lost
        before = config.SerializeToString(deterministic=True)
        entry = _find_or_add(config, name)
        yield entry
        if config.SerializeToString(deterministic=True) != before:
            comments = _leading_comments(text)
            _refuse_inner_comments(text, comments, path, entry)
            edited = text_format.MessageToString(config, as_utf8=True)
            with replacing(path) as file:
                file.write(((comments if "#" in comments else _HEADER) + edited).encode())


def _absolute(base: str | os.PathLike[str]) -> Path:
    # Path.absolute would keep a final "..", which is no name of a model.
    return Path(os.path.abspath(base))


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


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _parse(text: str, path: Path, *, strict: bool) -> pb.ModelServerConfig:
    config = pb.ModelServerConfig()
    try:
        text_format.Parse(text, config, allow_unknown_field=not strict)
    except text_format.ParseError as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from None
    if text != _leading_comments(text) and not config.HasField("model_config_list"):
        raise InputError(f"{path} cannot be read: it has no model_config_list")
    return config


def _leading_comments(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(takewhile(lambda line: not line.strip() or line.lstrip()[0] == "#", lines))


def _refuse_inner_comments(text: str, comments: str, path: Path, entry: pb.ModelConfig) -> None:
    """Raise an InputError if there are comments that the parser drops."""
    before, sign, _ = text[len(comments) :].partition("#")
    if sign:
        line = 1 + (comments + before).count("\n")
        wanted = text_format.MessageToString(entry, as_utf8=True, as_one_line=True)
        raise InputError(
            f"{path} has a comment in line {line}, which would be lost: move it to the top of the "
            f"file, or write the entry by hand: config {{ {wanted} }}"
        )


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
