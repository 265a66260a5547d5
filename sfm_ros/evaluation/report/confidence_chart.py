"""Figure of the depth's errors against its uncertainty and by distance."""

from __future__ import annotations

from matplotlib.figure import Figure

from sfm_ros.evaluation.plotting import BLUE, ORANGE, new_figure
from sfm_ros.evaluation.runs.depth_methods import MethodFigures
from sfm_ros.evaluation.runs.result import MULTIVIEW, NETWORK

_COLORS = {NETWORK: BLUE, MULTIVIEW: ORANGE}


def confidence_figure(methods: MethodFigures) -> Figure:
    """Errors against the stated uncertainty (sparsification curves), and by distance."""
    figure = new_figure(5.6, 5.6)
    curve, bars = figure.subplots(2, 1)
    for index, (name, figures) in enumerate(methods.items()):
        surest, distances = figures.get("surest"), figures.get("by_distance", {})
        if surest:
            shares = [100 * float(share) for share in surest]
            curve.plot(shares, list(surest.values()), "o-", color=_COLORS[name], ms=4, label=name)
        elif "abs_rel" in figures:
            curve.axhline(figures["abs_rel"], color=_COLORS[name], ls="--", label=f"{name}, all")
        places = [place + 0.4 * index - 0.2 for place in range(len(distances))]
        heights = [value or 0.0 for value in distances.values()]
        bars.bar(places, heights, 0.38, color=_COLORS[name], label=name)
        bars.set_xticks(range(len(distances)), list(distances))
    curve.set(xlabel="surest pixels [%]", ylabel="abs_rel", xlim=(0, 102), ylim=(0, None))
    bars.set(ylabel="abs_rel")
    for axes in (curve, bars):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=9, frameon=False)
    return figure
