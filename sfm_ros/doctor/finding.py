"""The result of a check: one line, with what to change if something is wrong."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass


class Level(enum.Enum):
    """Severity of a finding."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        level: OK, WARN (it works, but not as it should) or FAIL (it does not work).
        check: what was checked, such as ``stamps /camera/image_raw``.
        found: what was found.
        advice: what to change; empty if OK.
    """

    level: Level
    check: str
    found: str
    advice: str = ""

    def line(self) -> str:
        """One line of text."""
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.level.value:4}  {self.check}: {self.found}{advice}"


def ok(check: str, found: str) -> Finding:
    """Nothing is wrong."""
    return Finding(level=Level.OK, check=check, found=found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, but not as it should."""
    return Finding(level=Level.WARN, check=check, found=found, advice=advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(level=Level.FAIL, check=check, found=found, advice=advice)


def as_text(findings: Sequence[Finding]) -> str:
    """One line per finding, and a last line with the counts."""
    counts = ", ".join(
        f"{sum(f.level is level for f in findings)} {level.value}" for level in Level
    )
    return "\n".join([*(finding.line() for finding in findings), counts])


def as_json(subject: str, findings: Sequence[Finding]) -> str:
    """The findings as JSON.

    Args:
        subject: what was examined.
        findings: the results.
    """
    rows = [
        {"level": f.level.value, "check": f.check, "found": f.found, "advice": f.advice}
        for f in findings
    ]
    return json.dumps(
        {"subject": subject, "failed": has_failed(findings), "checks": rows}, indent=2
    )


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether any check failed."""
    return any(finding.level is Level.FAIL for finding in findings)
