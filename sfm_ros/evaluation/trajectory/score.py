"""All metrics of a trajectory and of its baselines, as a text table and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sfm_ros.evaluation.remarks import remark
from sfm_ros.evaluation.tables import format_table
from sfm_ros.evaluation.trajectory.association import Pairs
from sfm_ros.evaluation.trajectory.metrics import (
    SNIPPET_LENGTHS,
    OdometryMetrics,
    baseline_pairs,
    evaluate_pairs,
    main_figures,
    path_length,
)
from sfm_ros.evaluation.trajectory.segments import SEGMENT_LENGTHS_M
from sfm_ros.evaluation.trajectory.snippets import FORWARD_OPTICAL, SnippetError

UNALIGNED = "origin"
"""Both trajectories start at the first pose: errors include those of scale and heading."""
NOT_APPLICABLE = "n/a"
_SEGMENT_RANGE = f"{SEGMENT_LENGTHS_M[0]}-{SEGMENT_LENGTHS_M[-1]} m segments"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrajectoryScore:
    """Errors of an estimate and of the baselines.

    Attributes:
        estimate: metrics of the evaluated trajectory.
        baselines: metrics of ``straight_line`` and ``mean_motion``, aligned in the same way.
        unaligned: metrics of the estimate with `UNALIGNED`.
        unaligned_line: the same of ``straight_line``.
        scale_error_percent: how much longer than the ground truth the estimated path is, over the
            same poses; None if the ground truth does not move.
    """

    estimate: OdometryMetrics
    baselines: Mapping[str, OdometryMetrics]
    unaligned: OdometryMetrics
    unaligned_line: OdometryMetrics
    scale_error_percent: float | None

    def all(self) -> dict[str, OdometryMetrics]:
        """Metrics of the estimate and of the baselines, by name."""
        return {"estimate": self.estimate, **self.baselines}

    def remark(self, unaligned: bool = True) -> str | None:
        """The estimate beside the straight line, by t_err, or by the ATE of a short path."""
        own, line = self.estimate, self.baselines["straight_line"]
        if unaligned:
            own, line = self.unaligned, self.unaligned_line
        for label, name in (("t_err", "t_err_percent"), ("ATE", "ate_rmse_m")):
            words = remark(getattr(own, name), getattr(line, name), "a straight line")
            if words is not None:
                return f"{label} {words}"
        return None


def score_trajectory(
    pairs: Pairs,
    alignment: str,
    forward: tuple[float, float, float] = FORWARD_OPTICAL,
) -> TrajectoryScore:
    """Score an estimate and its baselines; see `evaluate_pairs` and `straight_line`."""
    baselines = baseline_pairs(pairs, forward)
    length = path_length(pairs.ground_truth)
    ratio = path_length(pairs.estimate) / length if length > 0 else None
    return TrajectoryScore(
        estimate=evaluate_pairs(pairs, alignment),
        baselines={name: evaluate_pairs(each, alignment) for name, each in baselines.items()},
        unaligned=evaluate_pairs(pairs, UNALIGNED),
        unaligned_line=evaluate_pairs(baselines["straight_line"], UNALIGNED),
        scale_error_percent=None if ratio is None else 100 * (ratio - 1),
    )


def score_as_json(score: TrajectoryScore) -> dict[str, Any]:
    """Plain values; None if a metric is not applicable.

    ``unaligned`` holds the errors with the lengths as published, from the same first pose.
    Top-level keys are the metrics of the estimate, with the 5-frame snippets of the estimate and
    of the baselines; the rest is under ``segments``, ``snippets`` and ``baselines``.
    """
    first = SNIPPET_LENGTHS[0]
    result: dict[str, Any] = {"alignment": score.estimate.alignment}
    result |= main_figures(score.estimate)
    for prefix, metrics in (("snippet", score.estimate), *score.baselines.items()):
        result |= _flat(f"{prefix}_ate", metrics.snippet_ates.get(first))
    for prefix, metrics in (("snippet", score.estimate), *score.baselines.items()):
        result |= _flat(f"{prefix}_re", metrics.snippet_res.get(first))
    baselines = {name: _figures(metrics) for name, metrics in score.baselines.items()}
    unaligned = {
        **main_figures(score.unaligned),
        "scale_error_percent": score.scale_error_percent,
        "remark": score.remark(),
    }
    return result | _figures(score.estimate) | {"baselines": baselines, "unaligned": unaligned}


def _flat(prefix: str, error: SnippetError | None) -> dict[str, float | None]:
    mean, std = (None, None) if error is None else (error.mean, error.std)
    return {f"{prefix}_mean": mean, f"{prefix}_std": std}


def _figures(metrics: OdometryMetrics) -> dict[str, Any]:
    return {
        **main_figures(metrics),
        "rpe_rmse_m": metrics.rpe_trans_rmse_m,
        "rpe_rmse_deg": metrics.rpe_rot_rmse_deg,
        "scale": metrics.scale,
        "pairs": metrics.pair_count,
        "path_length_m": metrics.path_length_m,
        "segments": {
            str(length): {"t_err_percent": t_err, "r_err_deg_per_100m": r_err}
            for length, (t_err, r_err) in metrics.segments.items()
        },
        "snippets": {
            str(frames): {
                "count": metrics.snippet_ates[frames].count,
                **_flat("ate", metrics.snippet_ates[frames]),
                **_flat("re", metrics.snippet_res[frames]),
            }
            for frames in metrics.snippet_ates
        },
    }


def unaligned_text(score: TrajectoryScore) -> str:
    """The errors with the lengths as published in one line, with the straight line."""
    metrics, scale = score.unaligned, score.scale_error_percent
    figures = (
        ("t_err {:.2f} %", metrics.t_err_percent),
        ("ATE RMSE {:.2f} m", metrics.ate_rmse_m),
        ("scale error {:+.1f} %", scale),
        ("{}", score.remark()),
    )
    return ", ".join(pattern.format(value) for pattern, value in figures if value is not None)


def score_table(score: TrajectoryScore) -> str:
    """The metrics as text, one column each for the estimate and the baselines."""
    columns = score.all()
    rows = [["", *(name.replace("_", " ") for name in columns)]]
    for label, cell in _ROWS:
        rows.append([label, *(cell(metrics) for metrics in columns.values())])
    return format_table(rows)


def _number(name: str, decimals: int = 4) -> Callable[[OdometryMetrics], str]:
    def cell(metrics: OdometryMetrics) -> str:
        value = getattr(metrics, name)
        return NOT_APPLICABLE if value is None else f"{value:.{decimals}f}"

    return cell


def _snippet(name: str, frames: int) -> Callable[[OdometryMetrics], str]:
    return lambda metrics: str(getattr(metrics, name).get(frames, NOT_APPLICABLE))


_ROWS: tuple[tuple[str, Callable[[OdometryMetrics], str]], ...] = (
    (f"t_err, {_SEGMENT_RANGE} [%]", _number("t_err_percent")),
    (f"r_err, {_SEGMENT_RANGE} [deg/100 m]", _number("r_err_deg_per_100m")),
    ("ATE RMSE [m]", _number("ate_rmse_m")),
    ("RPE trans, mean [m]", _number("rpe_trans_m")),
    ("RPE rot, mean [deg]", _number("rpe_rot_deg")),
    *((f"snippet ATE, {n} frames [m]", _snippet("snippet_ates", n)) for n in SNIPPET_LENGTHS),
    *((f"snippet RE, {n} frames [rad]", _snippet("snippet_res", n)) for n in SNIPPET_LENGTHS),
)
