"""What a diagnosis consists of."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Check", "Finding", "Report"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: What was found.
        why: What follows from it, or where it comes from.
        do: The next step.
        is_problem: Whether it keeps the model from being served as it should; otherwise it only
            may, which the one who reads it has to judge.
    """

    what: str
    why: str
    do: str
    is_problem: bool = True


@dataclass(frozen=True)
class Check:
    """One question and what was found; nothing means that all is as ``title`` says."""

    title: str
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, title: str, findings: Iterable[Finding]) -> "Check":
        return cls(title, tuple(findings))


@dataclass(frozen=True)
class Report:
    """The checks of one folder or server. Those that an earlier finding makes pointless are left out."""

    target: str
    checks: tuple[Check, ...]

    @property
    def findings(self) -> list[Finding]:
        return [finding for check in self.checks for finding in check.findings]

    @property
    def is_healthy(self) -> bool:
        return not any(finding.is_problem for finding in self.findings)
