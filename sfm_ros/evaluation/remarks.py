"""Whether an error is below that of a baseline which uses no image, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

_ALIKE = 1.05
"""Errors whose ratio is below this are taken for equal."""


def beats(error: float, baseline: float) -> bool:
    """Whether the error is clearly below that of the baseline; False if either is not finite."""
    return math.isfinite(error) and math.isfinite(baseline) and error * _ALIKE < baseline


def remark(error: float | None, baseline: float | None, name: str) -> str | None:
    """Such as "better than a straight line by 2.7x"; None if either error is unknown.

    ``name`` is that of the baseline.
    """
    if error is None or baseline is None or not (math.isfinite(error) and math.isfinite(baseline)):
        return None
    better, worse = beats(error, baseline), beats(baseline, error)
    if not better and not worse:
        return f"no better than {name}"
    low, high = min(error, baseline), max(error, baseline)
    by = f" by {high / low:.1f}x" if low > 0 else ""
    return f"{'better' if better else 'worse'} than {name}{by}"


def remarks(error: float | None, baselines: Mapping[str, float | None]) -> list[str]:
    """A `remark` for each baseline, by name, whose error is known."""
    found = (remark(error, baseline, name) for name, baseline in baselines.items())
    return [words for words in found if words is not None]
