"""The model card of a reproduced bundle, filled from what was trained and measured."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from sfm_ros.engines.choice_memory import processor_name
from sfm_ros.safety.documents import read_json
from training.config import TrainConfig
from training.data.sequence import PreparedSet
from training.reproduction.plan import KINDS, Request


def write_card(request: Request, config: TrainConfig, seconds: Mapping[str, float]) -> str:
    """The card as text, also written to ``request.card``.

    Args:
        config: of the run that trained the motion.
        seconds: duration of each step.
    """
    kind = KINDS[request.kind]
    hours = sum(seconds.values()) / 3600
    warning = ["", "A short run that shows that everything works: not a model."]
    lines = [
        f"# {request.kind}",
        *(warning if request.quick else []),
        "",
        f"Depth and motion of a camera that looks ahead from a road vehicle. {config.width}x"
        f"{config.height} pixels; EfficientNet-Lite0 encoder, separable decoder; the motion by "
        f"{config.network.sequence_length} frames, from features of the depth network's encoder. "
        f"Licence of the weights: {kind.licence}.",
        "",
        kind.knows,
        "",
        "Trained on",
        *_data(request),
        "* ImageNet, through the encoder's starting weights (Apache-2.0).",
        "",
        f"How: training/reproduce.py {request.kind}, recipes {kind.recipe} and geometry_pose; "
        f"{hours:.1f} hours in all on {os.cpu_count()} cores of {processor_name()}.",
        "",
        "Depth, mean over images, up to 80 m:",
        "",
        *_figures(request),
        "",
        f"Does not know: {kind.does_not_know} Lengths are meters for any lens whose calibration "
        f"is right, {_heights(config.network.canonical_height)}.",
    ]
    text = "\n".join(lines) + "\n"
    request.card.write_text(text, encoding="utf-8")
    return text


def _heights(canonical_m: float) -> str:
    if not canonical_m:
        return "at heights above the road like those of training"
    return (
        "in proportion to the height of the camera above the road "
        f"({canonical_m:g} m unless it is stated)"
    )


def _data(request: Request) -> list[str]:
    """A line for each origin of frames."""
    frames: Counter[str] = Counter()
    for path in request.prepared():
        for sequence in PreparedSet.open(path).sequences:
            rendered = sequence.provenance.startswith("rendered")
            origin = sequence.provenance.split(",")[0] if rendered else sequence.source
            frames[origin + (", with exact depth" if rendered else ", taught by geometry")] += (
                sequence.count
            )
    return [f"* {count} frames: {origin};" for origin, count in frames.items()]


def _figures(request: Request) -> list[str]:
    rows = ["| images | abs_rel | abs_rel, scaled by medians | RMSE m | scale spread |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name in request.evaluated():
        scaled = read_json(request.figures(name))
        raw = scaled["unscaled"]
        rows.append(
            f"| {name} ({scaled['images']}) | {raw['abs_rel']:.3f} | {scaled['abs_rel']:.3f} | "
            f"{raw['rmse']:.2f} | {100 * scaled['scale_spread']:.1f} % |"
        )
    return rows
