"""The options that add variants to a bundle, what they do, and the table of what was added."""

from __future__ import annotations

import argparse
from pathlib import Path

from sfm_ros.evaluation.runs.precision_loss import make_exam, with_measured_losses
from sfm_ros.evaluation.tables import format_table
from sfm_ros.model_spec import ModelSpec
from sfm_ros.model_variants import METRICS, VARIANTS
from sfm_ros.sources.factory import open_source
from training.exporting.variants import add_variants, calibration_windows


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--variants``, ``--calibrate``, ``--kitti`` and ``--no-measure``."""
    parser.add_argument(
        "--variants",
        nargs="+",
        default=[],
        choices=VARIANTS,
        help="precisions to add beside FP32; bf16 is only measured",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="SET",
        help="prepared sets for the ranges of INT8: of all that the model shall see",
    )
    parser.add_argument(
        "--kitti",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="measure the odometry on this drive or sequence, too",
    )
    parser.add_argument(
        "--no-measure",
        action="store_true",
        help="do not measure what the variants cost; no engine then takes them by itself",
    )


def extended(bundle: Path, spec: ModelSpec, options: argparse.Namespace) -> ModelSpec:
    """Write the variants of `add_variant_options` into a folder with FP32 graphs.

    Returns:
        The spec that names them; it is not saved.

    Raises:
        SfmRosError: a set, a sequence or an engine that is needed cannot be used.
    """
    windows = calibration_windows(options.calibrate, spec, options.variants)
    recorded = [open_source("kitti", path) for path in options.kitti]
    spec = add_variants(bundle, spec, options.variants, windows)
    if options.no_measure or not options.variants:
        return spec
    return with_measured_losses(bundle, spec, options.variants, make_exam(spec, recorded))


def variant_table(bundle: Path, spec: ModelSpec) -> str:
    """Sizes of the graphs, and the metrics in percent."""
    headings = [f"{name.replace('_', ' ')} %" for name in METRICS]
    rows = [["", "MB", *headings]]
    for name in dict.fromkeys(("fp32", *spec.variants)):
        graphs = spec.graphs(name)
        files = (graphs.depth_file, graphs.pose_file)
        megabytes = sum((bundle / file).stat().st_size for file in files) / 1e6
        cells = [_percent(graphs.metrics.get(key)) for key in METRICS]
        rows.append([name, f"{megabytes:.1f}", *cells])
    return format_table(rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.2f}"
