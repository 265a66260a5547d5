"""Loss curves of runs, and depth of several models side by side, as images.

python training/plot.py curves runs/vgg16 runs/resnet --names loss/total validation/score
python training/plot.py depth a.png b.png --models runs/vgg16/best.pt runs/resnet/best.pt default
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.colormap import color_of_depth, known_depths, limits_of
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame, RgbImage
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.depth.protocol import FITS, DepthPredictor
from sfm_ros.outputs.folder import check_output_files
from sfm_ros.safety.own_process import own_process
from sfm_ros.sources.folder import intrinsics_for, read_image
from training.fit.run_log import HISTORY, read_history
from training.torch_engine import open_named_model

Floats = npt.NDArray[np.float64]
Curves = dict[str, tuple[np.ndarray, np.ndarray]]
"""Steps and values of each scalar of a run."""
_SHOWN_PERCENTILE = 98.0
"""Percentile of the raw values that fits into a panel: single peaks would flatten the rest."""
_IMAGE_WIDTH, _TITLE_HEIGHT = 3.6, 0.28
"""Inches."""


def smooth(values: Floats, keep: float) -> Floats:
    """Exponential smoothing without a bias towards the first value; ``keep`` 0 changes nothing."""
    result = np.empty_like(values)
    mean = weight = 0.0
    for i, value in enumerate(values):
        mean = keep * mean + (1.0 - keep) * value
        weight = keep * weight + (1.0 - keep)
        result[i] = mean / weight
    return result


def read_run(folder: Path) -> Curves:
    """All scalars of a run: its ``history.csv``, else TensorBoard's files; SourceError if none."""
    curves = read_history(folder / HISTORY)
    if curves:
        return curves
    # Imported late: it is slow, and only needed for the runs of other programs.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for events in sorted({file.parent for file in folder.rglob("*tfevents*")}):
        board = EventAccumulator(str(events), size_guidance={"scalars": 0}).Reload()
        for name in board.Tags()["scalars"]:
            points = [(point.step, point.value) for point in board.Scalars(name)]
            steps, values = zip(*points, strict=True)
            curves[name] = np.array(steps), np.array(values)
    if not curves:
        raise SourceError(
            f"{folder} is no run: expected {HISTORY} or TensorBoard's event files in it"
        )
    return curves


def draw_curves(
    runs: Sequence[Path], labels: Sequence[str], names: Sequence[str], out: Path, keep: float
) -> None:
    """Draw one panel per name and one line per run, with the raw curve behind the smooth one.

    Validation scalars are few and drawn as they are.

    Args:
        runs: folders.
        labels: for the legend, one per run.
        names: which scalars.
        out: image to write.
        keep: of `smooth`.

    Raises:
        SourceError: a run cannot be read, or has none of the names.
    """
    curves = {label: read_run(run) for label, run in zip(labels, runs, strict=True)}
    for label, known in curves.items():
        if not any(name in known for name in names):
            raise SourceError(f"run {label} has none of {list(names)}; it has {', '.join(known)}")
    figure = Figure(figsize=(8, 3 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), squeeze=False, sharex=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
        _draw_panel(axis, name, curves, keep)
    _save(figure, out)


def _draw_panel(axis: Axes, name: str, curves: dict[str, Curves], keep: float) -> None:
    is_validation = name.startswith("validation/")
    raw, high = [np.zeros(0)], -np.inf
    for color, (label, known) in enumerate(curves.items()):
        if name not in known:
            continue
        steps, values = known[name]
        style: dict[str, Any] = dict(color=f"C{color % 10}", ls="-" if color < 10 else "--")
        if is_validation:
            axis.plot(steps, values, marker=".", label=label, **style)
        else:
            smoothed = smooth(values, keep)
            axis.plot(steps, smoothed, label=label, **style)
            axis.plot(steps, values, alpha=0.2, **style)
            high = max(high, smoothed[np.isfinite(smoothed)].max(initial=-np.inf))
        raw.append(values[np.isfinite(values)])
    smoothing = f" (smoothing {keep:g})" if keep and not is_validation else ""
    axis.set(xlabel="step", title=f"{name}{smoothing}")
    axis.label_outer()
    axis.grid(alpha=0.3)
    values = np.concatenate(raw)
    if not values.size:
        axis.text(0.5, 0.5, "no run has this scalar", ha="center", transform=axis.transAxes)
        return
    axis.legend()
    low, high = values.min(), max(high, np.percentile(values, _SHOWN_PERCENTILE))
    if not is_validation and high > low:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))


def draw_depth(
    images: Sequence[RgbImage], columns: Sequence[tuple[str, Sequence[DepthMap]]], out: Path
) -> None:
    """Draw one row per image: the original, then the depth by each model.

    Depth is drawn in the palette of all other figures, each image within its own limits: models
    without a scale can be compared, and a blank map looks blank.

    Args:
        images: (H, W, 3) uint8, one per row.
        columns: name of a model, and its depth of each image.
        out: image to write.
    """
    heights = [_IMAGE_WIDTH * rgb.shape[0] / rgb.shape[1] for rgb in images]
    size = (_IMAGE_WIDTH * (len(columns) + 1), _TITLE_HEIGHT + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(
        len(images), len(columns) + 1, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for row, rgb in zip(axes, images, strict=True):
        row[0].imshow(rgb)
    axes[0, 0].set_title("image", fontsize=10)
    for column, (title, depths) in zip(axes[:, 1:].T, columns, strict=True):
        column[0].set_title(f"{title}, bright = near", fontsize=10)
        for axis, depth in zip(column, depths, strict=True):
            axis.imshow(color_of_depth(depth, limits_of(known_depths(depth))))
    for axis in axes.flat:
        axis.set_axis_off()
    _save(figure, out)


def _save(figure: Figure, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


def predict(
    model: str, images: Sequence[RgbImage], calib: Path | None, fit: str
) -> tuple[str, list[DepthMap]]:
    """Name of a model and its depth of images.

    Args:
        model: a checkpoint (``.pt``), or a bundle by folder or name.
        images: (H, W, 3) each.
        calib: their calibration; None takes them as rectified, with a centered principal point.
        fit: see `DepthPredictor`.

    Raises:
        SfmRosError: the model or the calibration cannot be read.
    """
    engine = open_named_model(model)
    predictor = DepthPredictor(engine, fit)
    depths = []
    for rgb in images:
        height, width = rgb.shape[:2]
        centered = CameraIntrinsics(
            width=width, height=height, fx=width, fy=width, cx=(width - 1) / 2, cy=(height - 1) / 2
        )
        intrinsics = centered if calib is None else intrinsics_for(rgb, calib)
        depths.append(predictor.depth(Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics)))
    engine.close()
    return engine.spec.name, depths


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser(__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    curves = commands.add_parser("curves", help="loss curves of runs")
    curves.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    curves.add_argument("--names", nargs="+", default=["loss/total", "validation/score"])
    curves.add_argument("--labels", nargs="+", help="for the legend (default: folders' names)")
    curves.add_argument("--smoothing", type=float, default=0.9, help="0 (none) to below 1")
    curves.add_argument("--out", type=Path, default=Path("curves.png"))
    curves.set_defaults(run=_run_curves)
    depth = commands.add_parser("depth", help="depth of several models side by side")
    depth.add_argument("images", nargs="+", type=Path, help="files, one row each")
    depth.add_argument("--models", nargs="+", required=True, help="checkpoints (.pt) or bundles")
    depth.add_argument("--labels", nargs="+", help="titles of the columns (default: the names)")
    depth.add_argument("--calib", type=Path, help="calibration; without it: taken as rectified")
    depth.add_argument("--fit", choices=FITS, default=FITS[0], help="default: %(default)s")
    depth.add_argument("--out", type=Path, default=Path("depth.png"))
    depth.set_defaults(run=_run_depth)
    return parser.parse_args(arguments)


def _run_curves(options: argparse.Namespace) -> int:
    if not 0.0 <= options.smoothing < 1.0:
        raise SfmRosError(f"--smoothing is {options.smoothing:g}, expected 0 to below 1")
    names = _labels(options.labels, [run.resolve().name for run in options.runs])
    if len(set(names)) < len(names):
        names = _labels(options.labels, [str(run) for run in options.runs])
    draw_curves(options.runs, names, options.names, options.out, options.smoothing)
    print(options.out)
    return 0


def _run_depth(options: argparse.Namespace) -> int:
    rgbs = [read_image(file) for file in options.images]
    found = [predict(model, rgbs, options.calib, options.fit) for model in options.models]
    titles = _labels(options.labels, [name for name, _ in found])
    columns = [(title, depths) for title, (_, depths) in zip(titles, found, strict=True)]
    draw_depth(rgbs, columns, options.out)
    print(options.out)
    return 0


def _labels(given: Sequence[str] | None, default: Sequence[str]) -> Sequence[str]:
    if given is None:
        return default
    if len(given) != len(default):
        raise SfmRosError(f"--labels has {len(given)} texts, expected {len(default)}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    if arguments is None:
        own_process("plot")
    options = _parse(arguments)
    return run_program("plot", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    check_output_files(options, "out")
    exit_code: int = options.run(options)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
