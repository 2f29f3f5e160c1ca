"""Whether versions can be loaded, and why not."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kmnist.client.failures import brief
from kmnist.doctor.report import Finding
from kmnist.errors import KmnistError
from kmnist.protocol.metadata import Signature

__all__ = ["explain_failure", "load_versions"]

# An error message of TensorFlow → why and do of the finding; the first match applies.
_EXPLANATIONS: Final = (
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
# An error message of TensorFlow → its meaning; the first match applies.
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

    Args:
        folders: Version number → version folder.

    Returns:
        The signatures of the versions that can be loaded, and a problem for each of the others.

    Raises:
        KmnistError: TensorFlow is not installed.
    """
    try:
        from kmnist.server.servable import Servable
        from kmnist.server.serving_error import ServingError
    except ModuleNotFoundError as error:
        raise KmnistError(
            f"{error.name} is not installed; loading versions requires the full package: "
            "pip install kmnist"
        ) from None

    signatures: dict[int, dict[str, Signature]] = {}
    findings = []
    for version, folder in folders.items():
        try:
            servable = Servable(folder, verify=False)
        except ServingError as error:
            findings.append(_finding(folder, error.message))
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
