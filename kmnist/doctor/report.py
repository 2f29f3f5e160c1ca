"""Findings and reports, and the checks that a folder and a server have in common."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kmnist.protocol.messages import Signature, TensorSpec

__all__ = ["Finding", "Report", "compare_signatures", "load_failure"]


@dataclass(frozen=True)
class Finding:
    """A problem, or a warning.

    Attributes:
        what: The observation.
        cause: Its cause or its consequence.
        cure: The next step.
        is_problem: Whether it prevents the model from being served correctly. Otherwise it is a
            warning: whether it matters depends on the setup.
    """

    what: str
    cause: str
    cure: str
    is_problem: bool = True

    def about(self, **facts: object) -> "Finding":
        """Return the finding with ``facts`` in the place of the ``{fields}`` in its texts."""
        texts = {name: getattr(self, name).format(**facts) for name in ("what", "cause", "cure")}
        return replace(self, **texts)


@dataclass(frozen=True)
class Report:
    """The checks of a folder or a server.

    Attributes:
        target: The folder, or the address of the server.
        checks: The findings of each check by its title, none if everything is in order. A check
            that an earlier finding makes pointless is missing.
        broken: The versions of a folder that cannot be loaded, ascending.
    """

    target: str
    checks: Mapping[str, Sequence[Finding]]
    broken: tuple[int, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """The findings of all checks."""
        return [finding for findings in self.checks.values() for finding in findings]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem; there may be warnings."""
        return not any(finding.is_problem for finding in self.findings)


# Pattern of the message of a failed load → cause and cure; the first match applies.
_LOAD_FAILURES: Final = {
    r"SHA256SUMS": (
        "the version is not as it was exported, and kmnist serve refuses it",
        "copy it again from where it was exported, or delete it",
    ),
    r"op type not registered|mentions attr .* not in|producer version|min_consumer": (
        "the model needs a newer TensorFlow",
        "run a newer server, or export the model with the TensorFlow of the server",
    ),
    r"warm-?up": (
        "a server fails to load a version if a request of its warm-up file fails",
        "export the version again, or delete assets.extra/tf_serving_warmup_requests",
    ),
    r"available tags '\[\{|meta graph def matching": (
        "a server loads only a graph with the tag serve",
        "export the model for serving",
    ),
    r"permission.?denied": (
        "the user of the server may not read the version",
        "chmod -R a+rX on the folder, or run the container as its owner: UID and GID in .env",
    ),
    r"memory|\boom\b|resource.?exhausted": (
        "there is not enough memory for this version beside the others",
        "raise the memory limit, or delete old versions: kmnist versions prune",
    ),
    r"no such file|not.?found|could not find|does not exist|failed to find|available tags"
    r"|not a valid checkpoint|read less|out.of.range|too short|not an sstable|truncated|corrupt"
    r"|data.?loss|checksum|can(no|')t parse": (
        "a file is missing or cut off, usually because the version was not copied completely",
        "copy it again under a name that is not a number, then rename it: mv is atomic, cp is not",
    ),
    r"": (
        "TensorFlow cannot load it, here or in a server",
        "export the version again, or delete it; the server's log may say more",
    ),
}

_DIFFERENT: Final = Finding(
    "version {version} differs from version {newest}: {differences}",
    "a client written for one of them fails with the other as soon as a label moves, or a version "
    "is published or rolled back",
    "publish models with different signatures in different folders, and delete the old version: "
    "kmnist versions prune",
)


def load_failure(version: object, message: str) -> Finding:
    """Explain why TensorFlow failed to load a version.

    Args:
        version: The version folder, or the name of the version.
        message: The message of TensorFlow or TensorFlow Serving.
    """
    what = f"{version} cannot be loaded: {textwrap.shorten(message, 300, placeholder=' …')}"
    return next(
        Finding(what, cause, cure)
        for pattern, (cause, cure) in _LOAD_FAILURES.items()
        if re.search(pattern, message, re.IGNORECASE)
    )


def compare_signatures(versions: Mapping[int, Mapping[str, Signature]]) -> Iterator[Finding]:
    """Compare the signatures of every version with those of the newest one.

    Args:
        versions: Version number → name of the signature → signature.

    Yields:
        A problem for each version that differs.
    """
    newest = max(versions, default=0)
    for version in sorted(versions):
        if differences := "; ".join(_differences(versions[version], versions[newest], newest)):
            yield _DIFFERENT.about(version=version, newest=newest, differences=differences)


def _differences(
    old: Mapping[str, Signature], new: Mapping[str, Signature], newest: int
) -> Iterator[str]:
    for name in sorted(new.keys() - old.keys()):
        yield f"it has no signature {name}"
    for name in sorted(old.keys() - new.keys()):
        yield f"version {newest} has no signature {name}"
    for name in sorted(old.keys() & new.keys()):
        for side in ("inputs", "outputs"):
            before, after = _text(getattr(old[name], side)), _text(getattr(new[name], side))
            if before != after:
                yield f"{name} has the {side} {before}, not {after}"


def _text(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in sorted(specs.items())) or "none"
