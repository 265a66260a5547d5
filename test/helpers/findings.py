"""Access to the findings of a check."""

from __future__ import annotations

from collections.abc import Iterable

from sfm_ros.doctor.finding import Finding, as_text


def only(findings: Iterable[Finding]) -> Finding:
    """The only finding."""
    findings = list(findings)
    assert len(findings) == 1, as_text(findings)
    return findings[0]
