"""The result of a check: one line, with what to change if something is wrong."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sfm_ros.errors import printable

_LONGEST_TEXT = 2000
"""Characters; enough to name all topics of a robot."""
_MOST_FINDINGS = 200


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

    def __post_init__(self) -> None:
        """Make the texts printable: they contain names and errors of others."""
        for name in ("check", "found", "advice"):
            object.__setattr__(self, name, printable(getattr(self, name), _LONGEST_TEXT))

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
    """One line per finding, up to `_MOST_FINDINGS`, and a last line with the counts of all."""
    counts = ", ".join(
        f"{sum(f.level is level for f in findings)} {level.value}" for level in Level
    )
    lines = [finding.line() for finding in findings[:_MOST_FINDINGS]]
    if len(findings) > len(lines):
        lines.append(f"... and {len(findings) - len(lines)} more")
    return "\n".join([*lines, counts])


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
