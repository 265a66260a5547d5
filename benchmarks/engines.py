"""Every engine and precision that works here, side by side: arithmetic, latency, accuracy.

    python benchmarks/engines.py [--model BUNDLE] [--size 640x192] [--threads 2]
        [--kitti kitti_odom03_head] [--before OLD_BUNDLE] [--json engines.json]

Candidates take turns in one process, in short bursts; bursts that other processes or other guests
of the host have disturbed are left out, and how many were kept is printed. GFLOP are counted in
the graph (2 for a product and its addition); the peak is that of a matrix product of the same
precision. Accuracy is relative to the first engine's FP32: abs_rel on rendered streets that
were never trained on, t_err on the sequence of ``--kitti``.

``--size`` resizes the graphs of a bundle that are convolutional, as where the motion is found in
pixels: the weights are the same, and only arithmetic and latency mean something. ``--before`` adds
another bundle with ONNX Runtime in FP32, as the reference of the ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from arithmetic import gflop, known_work, peaks
from onnx import numpy_helper
from quiet import Bursts, measure

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.engines.registry import ENGINES, load_engine
from sfm_ros.errors import EngineError, ModelError, SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.precision_loss import ExamResult, compare, make_exam, take_exam
from sfm_ros.evaluation.tables import format_table
from sfm_ros.model_spec import ModelSpec
from sfm_ros.sources.factory import open_source

PARTS = ("depth", "pose", "both")
_BEFORE = "before"
_PIXELS_OF_A_BLOCK = 16


def main() -> int:
    """Measure and print; the exit status is 0, or 1 with the reason on stderr."""
    options = _parse()
    try:
        with tempfile.TemporaryDirectory(prefix="sfm_engines_") as folder:
            bundle = _bundle(options, Path(folder))
            report = compare_engines(bundle, options)
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    parser.add_argument("--size", help="size of the networks' input, such as 640x192")
    parser.add_argument("--threads", type=int, default=ModelConfig().threads)
    parser.add_argument("--engine", choices=list(ENGINES), action="append", help="only these")
    parser.add_argument("--rounds", type=int, default=12, help="bursts of each candidate")
    parser.add_argument("--burst", type=float, default=0.3, help="seconds of a burst")
    parser.add_argument("--kitti", type=Path, help="drive or sequence for t_err")
    parser.add_argument("--no-accuracy", action="store_true", help="latency alone")
    parser.add_argument("--before", help="another bundle, as the reference of the ratios")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _bundle(options: argparse.Namespace, folder: Path) -> Path:
    bundle = resolve_bundle(options.model)
    if not options.size:
        return bundle
    width, height = (int(number) for number in options.size.split("x"))
    return resized(bundle, folder / "resized", width, height)


def compare_engines(bundle: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a bundle, as plain values."""
    engines, absent = load_all(bundle, options)
    calls = {
        f"{name} {part}": call
        for name, engine in engines.items()
        for part, call in calls_of(engine).items()
    }
    before = peaks(options.threads)
    bursts, fastest_s = measure(calls, known_work(options.threads), options.rounds, options.burst)
    after = peaks(options.threads)
    peak = {name: max(rate, after[name]) for name, rate in before.items()}
    spec = ModelSpec.load(bundle)
    work = {
        p: gflop(bundle / f) for p, f in (("depth", spec.depth_file), ("pose", spec.pose_file))
    }
    work["both"] = sum(work.values())
    rows = {
        name: {
            p: figures(bursts[f"{name} {p}"], fastest_s) for p in PARTS if f"{name} {p}" in calls
        }
        for name in engines
    }
    for name, row in rows.items():
        peak_here = peak.get(name.split()[-1])
        for part, values in row.items():
            rate = work[part] / (values["p50_ms"] * 1e-3)
            values["share_of_peak"] = rate / peak_here if peak_here else None
    report = {
        "machine": provenance(), "threads": options.threads, "model": spec.name,
        "size": [spec.width, spec.height], "gflop": work, "peak_gflops": peak,
        "absent": absent, "engines": rows, "accuracy": {},
    }  # fmt: skip
    if not options.no_accuracy and not options.size:
        report["accuracy"] = accuracy(engines, spec, options)
    return report


def load_all(
    bundle: Path, options: argparse.Namespace
) -> tuple[dict[str, Engine], dict[str, str]]:
    """The engines that work, by name and precision, and why the others do not."""
    engines: dict[str, Engine] = {}
    absent = {}
    if options.before:
        config = ModelConfig(threads=options.threads, precision="fp32")
        before = resolve_bundle(options.before)
        engines[f"onnx {_BEFORE} fp32"] = load_engine("onnx", before, config)
    for name in options.engine or ENGINES:
        for precision in ENGINES[name].variants:
            config = ModelConfig(engine=name, threads=options.threads, precision=precision)
            try:
                engines[f"{name} {precision}"] = load_engine(name, bundle, config)
            except (EngineError, ModelError) as error:
                absent[f"{name} {precision}"] = str(error)
    if not engines:
        raise EngineError(f"no engine works here: {'; '.join(absent.values())}")
    return engines, absent


def calls_of(engine: Engine) -> dict[str, Callable[[], object]]:
    """One inference of each part, on frames that change from call to call."""
    frames = _endless(parity_windows(engine.spec))
    calls: dict[str, Callable[[], object]] = {"both": lambda: engine.infer(next(frames))}
    depth, pose = getattr(engine, "_run_depth", None), getattr(engine, "_run_pose", None)
    if depth is None or pose is None or engine.spec.pose_input != "pixels":
        return calls
    stacked = [np.stack(w.images)[None] for w in parity_windows(engine.spec)]
    inputs = _endless(stacked)
    return {
        "depth": lambda: depth(next(inputs)[:, -1]), "pose": lambda: pose(next(inputs)), **calls
    }  # fmt: skip


def _endless(values: list) -> Iterator[Any]:
    while True:
        yield from values


def figures(bursts: Bursts, fastest_s: float) -> dict[str, Any]:
    """Median and minimum over the undisturbed bursts; over all of them if there is none."""
    kept = bursts.kept(fastest_s)
    times_ms = np.concatenate(kept or bursts.times_ms)
    return {
        "p50_ms": float(np.median(times_ms)), "min_ms": float(times_ms.min()),
        "bursts": len(bursts.times_ms), "kept": len(kept),
    }  # fmt: skip


def accuracy(
    engines: dict[str, Engine], spec: ModelSpec, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The metrics of `sfm_ros.model_variants` for each engine, beside the first FP32 one."""
    recorded = [open_source("kitti", options.kitti)] if options.kitti else []
    exam = make_exam(spec, recorded, street_frames=0)
    results: dict[str, ExamResult] = {
        name: take_exam(engine, exam) for name, engine in engines.items() if _BEFORE not in name
    }
    reference = next(result for name, result in results.items() if name.endswith("fp32"))
    return {name: compare(result, reference) for name, result in results.items()}


def resized(bundle: Path, folder: Path, width: int, height: int) -> Path:
    """A bundle of the same weights for another size of images.

    Raises:
        ModelError: the graphs have parts that depend on the size.
    """
    spec = ModelSpec.load(bundle)
    folder.mkdir(parents=True)
    pairs = [spec.graphs(), *spec.variants.values()]
    for file in {f for pair in pairs for f in (pair.depth_file, pair.pose_file)}:
        model = onnx.load(bundle / file)
        _resize(model, (spec.width, spec.height), (width, height))
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.shape_inference.InferenceError as error:
            raise ModelError(f"{file} cannot be resized to {width}x{height}: {error}") from error
        onnx.save(model, folder / file)
    dataclasses.replace(spec, width=width, height=height, multiview_file="").save(folder)
    return folder


def _resize(model: onnx.ModelProto, old: tuple[int, int], new: tuple[int, int]) -> None:
    """Change the sizes in inputs, outputs and reshapes; the rest of the networks has none."""
    sizes = {old[0]: new[0], old[1]: new[1]}
    sizes[old[0] // _PIXELS_OF_A_BLOCK] = new[0] // _PIXELS_OF_A_BLOCK
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if len(dimensions) != 4 or value.name != "T_source_target":
            for dimension in dimensions:
                dimension.dim_value = sizes.get(dimension.dim_value, dimension.dim_value)
    del model.graph.value_info[:]
    shapes = {n.input[1] for n in model.graph.node if n.op_type == "Reshape"}
    for constant in model.graph.initializer:
        if constant.name in shapes:
            shape = _resized_shape(numpy_helper.to_array(constant), old[1], sizes)
            constant.CopyFrom(numpy_helper.from_array(shape, constant.name))


def _resized_shape(
    shape: npt.NDArray[np.int64], height: int, sizes: dict[int, int]
) -> npt.NDArray[np.int64]:
    """The height is followed by a width, whole or in blocks; other numbers are channels."""
    result = shape.copy()
    for index in range(len(shape) - 1):
        first, second = int(shape[index]), int(shape[index + 1])
        if first == height and second in sizes:
            result[index : index + 2] = sizes[first], sizes[second]
    return result


def print_report(report: dict[str, Any]) -> None:
    """The table, and what the figures depend on."""
    print(report["machine"])
    width, height = report["size"]
    work = ", ".join(f"{part} {value:.2f}" for part, value in report["gflop"].items())
    peak = ", ".join(f"{name} {value:.0f}" for name, value in report["peak_gflops"].items())
    print(f"{report['model']} at {width}x{height}, {report['threads']} threads; GFLOP: {work}")
    print(f"peak of a matrix product, GFLOP/s: {peak}")
    print(format_table(table_rows(report)))
    for name, reason in report["absent"].items():
        print(f"not measured: {name}: {reason}")
    if all(v["kept"] == 0 for row in report["engines"].values() for v in row.values()):
        print("WARNING  every burst was disturbed; the figures are those of a busy machine")


def table_rows(report: dict[str, Any]) -> list[list[str]]:
    """Heading and one row for each engine and precision."""
    parts = [f"{part} p50 (min) ms" for part in PARTS]
    losses = ["abs_rel %", "t_err %", "depth median %"]
    rows = [["", *parts, "ratio", "share of peak", *losses, "bursts kept"]]
    reference = next(iter(report["engines"].values()))["both"]["p50_ms"]
    for name, row in report["engines"].items():
        both, found = row["both"], report["accuracy"].get(name, {})
        keys = ("abs_rel_change", "t_err_change", "depth_difference_median")
        kept, count = (sum(v[key] for v in row.values()) for key in ("kept", "bursts"))
        share = both["share_of_peak"]
        rows.append(
            [
                name,
                *(_latency(row.get(part)) for part in PARTS),
                f"{both['p50_ms'] / reference:.2f}",
                "" if share is None else f"{100 * share:.0f} %",
                *("" if found.get(k) is None else f"{100 * found[k]:+.2f}" for k in keys),
                f"{kept}/{count}",
            ]
        )
    return rows


def _latency(values: dict[str, Any] | None) -> str:
    return "" if values is None else f"{values['p50_ms']:.2f} ({values['min_ms']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
