"""Access to the findings of a check."""

from __future__ import annotations

from sfm_ros.doctor.finding import Finding, as_text


def only(findings: list[Finding]) -> Finding:
    """The only finding."""
    assert len(findings) == 1, as_text(findings)
    return findings[0]
