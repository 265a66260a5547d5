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

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame, RgbImage
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.depth.protocol import FITS, DepthPredictor
from sfm_ros.sources.folder import intrinsics_for, read_image
from training.fit.run_log import HISTORY, read_history
from training.model_options import open_named_model

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
_SEEN_SHARE = 98.0
"""Percent of the raw values that a panel makes room for: single peaks would flatten the rest."""
_BRIGHTEST = 95.0
"""Percentile of the disparity that is drawn brightest."""
_IMAGE_WIDTH, _LABEL_HEIGHT, _GAP = 3.6, 0.28, 0.06
"""Inches."""


def smooth(values: npt.NDArray[np.float64], keep: float) -> npt.NDArray[np.float64]:
    """Exponential smoothing without a bias towards the first value; ``keep`` 0 changes nothing."""
    result = np.empty_like(values)
    mean = weight = 0.0
    for i, value in enumerate(values):
        mean = keep * mean + (1.0 - keep) * value
        weight = keep * weight + (1.0 - keep)
        result[i] = mean / weight
    return result


def read_run(folder: Path) -> Curves:
    """Every figure of a run by name, ``(steps, values)``.

    From its ``history.csv``, or, for runs of other programs, from TensorBoard's event files.

    Raises:
        SourceError: the folder holds neither.
    """
    curves = read_history(folder / HISTORY)
    if curves:
        return curves
    # Imported late: it is slow, and only foreign runs need it.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = sorted({file.parent for file in folder.rglob("*tfevents*")})
    for place in events:
        board = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
        for name in board.Tags()["scalars"]:
            points = board.Scalars(name)
            steps = np.array([point.step for point in points])
            curves[name] = (steps, np.array([point.value for point in points]))
    if not curves:
        raise SourceError(
            f"{folder} is no run: it holds neither {HISTORY} nor TensorBoard's event files"
        )
    return curves


def draw_curves(
    runs: Sequence[Path], labels: Sequence[str], names: Sequence[str], out: Path, keep: float
) -> None:
    """Draw one panel a name, one line a run; the raw curve shines through behind the smooth one.

    Figures of validation are few and drawn as they are.

    Args:
        runs: folders.
        labels: for the legend, one a run.
        names: which figures.
        out: image to write.
        keep: of `smooth`.

    Raises:
        SourceError: a run cannot be read, or has none of the names.
    """
    curves = {label: read_run(run) for label, run in zip(labels, runs, strict=True)}
    for label, known in curves.items():
        if not any(name in known for name in names):
            raise SourceError(f"run {label} has none of {list(names)}; it has {', '.join(known)}")
    figure, axes = plt.subplots(
        len(names),
        1,
        figsize=(8, 3 * len(names)),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for axis, name in zip(axes[:, 0], names, strict=True):
        _draw_panel(axis, name, curves, keep)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def _draw_panel(axis: Axes, name: str, curves: dict[str, Curves], keep: float) -> None:
    is_validation = name.startswith("validation/")
    shown: list[npt.NDArray] = []
    high = -np.inf
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
        shown.append(values[np.isfinite(values)])
    how = f" (smoothing {keep:g})" if keep and not is_validation else ""
    axis.set(xlabel="step", title=f"{name}{how}")
    axis.label_outer()
    axis.grid(alpha=0.3)
    values = np.concatenate(shown) if shown else np.zeros(0)
    if values.size:
        axis.legend()
        low, high = values.min(), max(high, np.percentile(values, _SEEN_SHARE))
        if not is_validation and high > low:
            axis.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    else:
        axis.text(0.5, 0.5, "no run has this figure", ha="center", transform=axis.transAxes)


def draw_depth(
    images: Sequence[RgbImage],
    columns: Sequence[tuple[str, Sequence[DepthMap]]],
    out: Path,
) -> None:
    """Draw a row an image: the original, then the disparity of each model.

    Disparity is drawn from 0 (black, endlessly far) to near its largest value (bright), each
    image by its own: models that know no scale can be compared, and a blank map looks blank.

    Args:
        images: (H, W, 3) uint8, one a row.
        columns: name of a model, and its depth of each image.
        out: image to write.
    """
    heights = [_IMAGE_WIDTH * rgb.shape[0] / rgb.shape[1] for rgb in images]
    count = len(columns) + 1
    page = (
        count * (_IMAGE_WIDTH + _GAP) - _GAP,
        _LABEL_HEIGHT + sum(heights) + _GAP * (len(heights) - 1),
    )
    figure = plt.figure(figsize=page, dpi=120)
    top = _LABEL_HEIGHT
    for row, (rgb, height) in enumerate(zip(images, heights, strict=True)):
        for column in range(count):
            axis = figure.add_axes(
                (
                    column * (_IMAGE_WIDTH + _GAP) / page[0],
                    1 - (top + height) / page[1],
                    _IMAGE_WIDTH / page[0],
                    height / page[1],
                )
            )
            axis.set_axis_off()
            if column == 0:
                axis.imshow(rgb)
            else:
                disparity = 1.0 / columns[column - 1][1][row]
                brightest = np.nanpercentile(disparity, _BRIGHTEST)
                axis.imshow(disparity, cmap="magma", vmin=0.0, vmax=brightest)
            if row == 0:
                title = "image" if column == 0 else columns[column - 1][0]
                axis.set_title(title, fontsize=10, pad=4)
        top += height + _GAP
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    plt.close(figure)


def predict(
    model: str, images: Sequence[RgbImage], calib: Path | None, fit: str
) -> tuple[str, list[DepthMap]]:
    """Name and depth of images by a model.

    Args:
        model: a checkpoint (``.pt``), or a bundle by folder or name.
        images: (H, W, 3) each.
        calib: their calibration; None takes them as rectified, with the axis in the middle.
        fit: see `DepthPredictor`.

    Raises:
        SfmRosError: the model or the calibration cannot be read.
    """
    engine = open_named_model(model)
    predictor = DepthPredictor(engine, fit)
    depths = []
    for rgb in images:
        height, width = rgb.shape[:2]
        middle = CameraIntrinsics(
            width=width, height=height, fx=width, fy=width, cx=(width - 1) / 2, cy=(height - 1) / 2
        )
        intrinsics = middle if calib is None else intrinsics_for(rgb, calib)
        depths.append(predictor.depth(Frame(stamp_ns=0, rgb=rgb, intrinsics=intrinsics)))
    engine.close()
    return engine.spec.name, depths


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    depth.add_argument("--calib", type=Path, help="calibration; without: taken as rectified")
    depth.add_argument("--fit", choices=FITS, default=FITS[0], help="default: %(default)s")
    depth.add_argument("--out", type=Path, default=Path("depth.png"))
    depth.set_defaults(run=_run_depth)
    return parser.parse_args(arguments)


def _run_curves(options: argparse.Namespace) -> None:
    if not 0.0 <= options.smoothing < 1.0:
        raise SfmRosError(f"--smoothing is {options.smoothing:g}, expected 0 to below 1")
    names = _labels(options.labels, [run.resolve().name for run in options.runs])
    if len(set(names)) < len(names):
        names = _labels(options.labels, [str(run) for run in options.runs])
    draw_curves(options.runs, names, options.names, options.out, options.smoothing)


def _run_depth(options: argparse.Namespace) -> None:
    rgbs = [read_image(file) for file in options.images]
    found = [predict(model, rgbs, options.calib, options.fit) for model in options.models]
    titles = _labels(options.labels, [name for name, _ in found])
    columns = [(title, depths) for title, (_, depths) in zip(titles, found, strict=True)]
    draw_depth(rgbs, columns, options.out)


def _labels(given: Sequence[str] | None, default: Sequence[str]) -> Sequence[str]:
    if given is None:
        return default
    if len(given) != len(default):
        raise SfmRosError(f"--labels has {len(given)} texts, expected {len(default)}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parse(arguments)
    try:
        options.run(options)
    except (SfmRosError, OSError) as error:
        print(f"plot: {error}", file=sys.stderr)
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
