"""Whether versions can be loaded, and why not."""

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from kmnist.client.failures import brief
from kmnist.doctor.report import Finding
from kmnist.errors import KmnistError
from kmnist.protocol.messages import Signature

__all__ = ["explain_failure", "load_versions", "require_readable"]

T = TypeVar("T")

# Longer than the load of a large model takes, warm-up included.
_LOAD_SECONDS: Final = 300.0

# For the load of a small model to end after Ctrl-C.
_GRACE_SECONDS: Final = 10.0

# An error message of a load → why and do of the finding; the first match applies.
_EXPLANATIONS: Final = (
    (
        r"not a regular file|not loaded after",
        "a server that loads it waits as well, indefinitely and without a message",
        "export the version again",
    ),
    (
        (
            r"op type not registered|mentions attr .* not in|unregistered|producer version"
            r"|min_consumer|custom op"
        ),
        "the model needs a newer TensorFlow",
        "run a newer server, or export the model with the TensorFlow of the server",
    ),
    (
        r"warm-?up",
        "a server fails to load a version if a request of its warm-up file fails",
        "export the version again, or delete assets.extra/tf_serving_warmup_requests",
    ),
    (
        r"meta graph def matching|available tags '\[\{",
        "a server loads only a graph with the tag serve",
        "export the model for serving",
    ),
    (
        r"permission.?denied",
        "the user of the server may not read the version",
        "run chmod -R a+rX on the folder, or run the container as its owner: UID and GID in .env",
    ),
    (
        r"memory|\boom\b|resource_?exhausted",
        "there is not enough memory for this version beside the others",
        "raise the memory limit, or delete old versions: kmnist versions prune",
    ),
    (
        (
            r"could not find saved_?model|available tags|no such file|not_?found|does not exist"
            r"|not a valid checkpoint|read less|out.of.range|truncated|too short|corrupt"
            r"|data.?loss|checksum|can(?:'t|not) parse|failed to find"
        ),
        "a file is missing or truncated, usually because the version was not copied completely",
        "copy it again under a name that is not a number, then rename it: mv is atomic, cp is not",
    ),
)
# An error message of a load → its meaning; the first match applies.
_DESCRIPTIONS: Final = (
    (
        r"warm-up failed: (?:\{\{.*?\}\} )?(?P<reason>.*?)(?: \[Op:.*)?$",
        "has a warm-up file that fails: {reason}",
    ),
    (r"SavedModel file does not exist", "has no saved_model.pb"),
    (r"Cannot parse file", "has a truncated or damaged saved_model.pb"),
    (r"available tags '\[\]'", "has a saved_model.pb without a graph"),
    (r"available tags '\[(?P<tags>.*)\]'", "has no graph with the tag serve, only: {tags}"),
    (r"not a valid checkpoint", "has no variables/variables.index"),
    (r"(?P<file>variables/[\w.-]+); No such file", "has no {file}"),
    (
        r"Read less bytes|too short|corrupt|checksum|data ?loss",
        "has truncated or damaged variables",
    ),
    (r"(?P<all>.*)", "cannot be loaded: {all}"),
)


def load_versions(
    folders: Mapping[int, Path],
) -> tuple[dict[int, dict[str, Signature]], list[Finding]]:
    """Load every version, one after the other.

    A load that takes longer than five minutes is abandoned.

    Args:
        folders: Version number → version folder.

    Returns:
        The signatures of the versions that can be loaded, and a problem for each of the others.

    Raises:
        KmnistError: TensorFlow is not installed.
    """
    try:
        from kmnist.server.errors import StatusError
        from kmnist.server.model import LoadedModel
    except ModuleNotFoundError as error:
        raise KmnistError(
            f"{error.name} is not installed; loading versions requires the full package: "
            "pip install kmnist"
        ) from None

    signatures: dict[int, dict[str, Signature]] = {}
    findings = []
    for version, folder in folders.items():
        try:
            require_readable(folder)
            servable = _within(_LOAD_SECONDS, partial(LoadedModel, verify=False), folder)
        except StatusError as error:
            findings.append(_finding(folder, error.message))
        except OSError as error:
            findings.append(_finding(folder, f"{error.filename}: {error.strerror}"))
        except Exception as error:  # noqa: BLE001 - whatever TensorFlow raises is a finding
            findings.append(_finding(folder, f"{type(error).__name__}: {error}"))
        else:
            signatures[version] = servable.signatures
            servable.close()
    return signatures, findings


def explain_failure(message: str) -> tuple[str, str] | None:
    """Return cause and remedy for the error with which TensorFlow failed to load a version."""
    for pattern, why, do in _EXPLANATIONS:
        if re.search(pattern, message, re.IGNORECASE):
            return why, do
    return None


def require_readable(folder: Path) -> None:
    """Refuse a version with unreadable folders or files, or with files that a load would wait for.

    Raises:
        OSError: A folder or file cannot be read, or is a named pipe, a socket or a device.
    """

    def fail(error: OSError) -> NoReturn:
        raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        for path in (Path(parent, name) for name in names):
            if not path.exists():
                continue  # a link that leads nowhere; the load fails if it needs the file
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            if not os.access(path, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _within(seconds: float, load: Callable[[Path], T], folder: Path) -> T:
    """Return ``load(folder)``, called in a thread: it cannot be interrupted, but abandoned.

    Raises:
        OSError: There is no result after ``seconds``.
    """
    results: list[T] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(load(folder))
        except Exception as error:  # noqa: BLE001 - raised in the calling thread
            errors.append(error)
        finally:
            ended.set()

    # Not join: an interrupt during it makes Python take the thread for ended.
    threading.Thread(target=run, daemon=True).start()
    try:
        ended.wait(seconds)
    except KeyboardInterrupt:
        # Python aborts if a thread returns from TensorFlow while it ends.
        ended.wait(_GRACE_SECONDS)
        raise
    if errors:
        raise errors[0]
    if not results:
        raise OSError(errno.ETIMEDOUT, f"not loaded after {seconds:g} seconds", str(folder))
    return results[0]


def _finding(folder: Path, message: str) -> Finding:
    why, do = explain_failure(message) or (
        "a server cannot load it either, and keeps the previous version",
        "export the version again",
    )
    return Finding(
        f"{folder} {_describe(folder, message)}",
        why,
        f"{do}; or delete the version: rm -r {folder}",
    )


def _describe(folder: Path, message: str) -> str:
    if empty := _empty(folder):
        return empty
    line = brief(message.removeprefix("Graph execution error:"))
    for pattern, description in _DESCRIPTIONS:
        if match := re.search(pattern, line, re.IGNORECASE):
            return description.format(**match.groupdict())
    return "cannot be loaded"


def _empty(folder: Path) -> str | None:
    """Return a description of an empty folder or file, whose effects are hard to recognize."""
    try:
        if not any(folder.iterdir()):
            return "is empty"
        for file in (folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))):
            if file.is_file() and not file.stat().st_size:
                return f"has an empty {file.relative_to(folder)}"
    except OSError as error:
        return f"cannot be read: {error.strerror} ({error.filename})"
    return None
