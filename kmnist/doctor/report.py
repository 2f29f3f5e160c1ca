"""The result of an examination: a report of checks with findings."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Check", "Finding", "Report"]


@dataclass(frozen=True)
class Finding:
    """A problem, or a warning.

    Attributes:
        what: The observation.
        why: Its cause or its consequence.
        do: The next step.
        is_problem: Whether it prevents the model from being served correctly. Otherwise it is a
            warning: whether it matters depends on the setup.
    """

    what: str
    why: str
    do: str
    is_problem: bool = True


@dataclass(frozen=True)
class Check:
    """A subject of the examination and its findings; none if everything is in order.

    Attributes:
        title: The subject, as a noun phrase.
        findings: The problems and warnings.
    """

    title: str
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, title: str, findings: Iterable[Finding] = ()) -> "Check":
        """Create a check from any iterable of findings."""
        return cls(title, tuple(findings))


@dataclass(frozen=True)
class Report:
    """The checks of a folder or a server.

    Attributes:
        target: The folder, or the address of the server.
        checks: The checks, without those that an earlier finding makes pointless.
        broken: The versions of a folder that cannot be loaded, ascending.
    """

    target: str
    checks: tuple[Check, ...]
    broken: tuple[int, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """The findings of all checks."""
        return [finding for check in self.checks for finding in check.findings]

    @property
    def is_healthy(self) -> bool:
        """Whether there is no problem; there may be warnings."""
        return not any(finding.is_problem for finding in self.findings)
