"""Adds the graphs of other precisions to a bundle, from its FP32 graphs alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.errors import ModelError, SourceError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.model_variants import GraphVariant
from training.data.sequence import PreparedSet
from training.exporting.half import in_half
from training.exporting.quantize import STYLES, quantized
from training.exporting.rewrites import rewritten
from training.exporting.storage import graph_paths, load_graph, narrowed, widened

HALF = "fp16"
MADE = (HALF, *STYLES)
"""The variants that have graphs of their own."""
CALIBRATION_WINDOWS = 64
TOLERANCE = 1e-5
"""Largest change of a rewritten graph's output: relative for depth, absolute for motion."""
_STORED_TOLERANCE = 0.03
"""The same of a graph with weights stored as FP16, on streets: white noise, of which nothing was
learned, changes by ten times as much. The shipped depth changes by .1 % in the median, by 2 % at
single pixels beside the sky."""

Windows = npt.NDArray[np.uint8]
"""(M, N, h, w, 3): M windows of N frames."""


def variant_files(names: Sequence[str]) -> list[str]:
    """The files that `add_variants` writes."""
    return [file for name in names if name in MADE for file in _files(name)]


def _files(name: str) -> tuple[str, str]:
    return f"depth.{name}.onnx", f"pose.{name}.onnx"


def calibration_windows(paths: Sequence[Path], spec: ModelSpec, names: Sequence[str]) -> Windows:
    """Windows of prepared sets, as many of each and spread evenly over it; none if not needed.

    Raises:
        SourceError: no set is given, one cannot be read, or no sequence of it is long enough.
        ModelError: its frames do not have the model's size.
    """
    if not set(names) & set(STYLES):
        return np.zeros((0, spec.sequence_length, spec.height, spec.width, 3), np.uint8)
    if not paths:
        raise SourceError("INT8 is calibrated on frames; give --calibrate PREPARED_SET")
    most = -(-CALIBRATION_WINDOWS // len(paths))
    return np.concatenate([_windows_of(path, spec, most) for path in paths])


def _windows_of(path: Path, spec: ModelSpec, most: int) -> Windows:
    prepared, count = PreparedSet.open(path), spec.sequence_length
    if (prepared.width, prepared.height) != (spec.width, spec.height):
        raise ModelError(
            f"{path} has frames of {prepared.width}x{prepared.height}, the model "
            f"{spec.width}x{spec.height}; prepare the set in that size"
        )
    starts = [s.start + k for s in prepared.sequences for k in range(s.count - count + 1)]
    if not starts:
        raise SourceError(f"no sequence of {path} has {count} frames, expected at least one")
    chosen = np.linspace(0, len(starts) - 1, min(len(starts), most))
    firsts = [starts[int(index)] for index in chosen]
    return np.stack([prepared.frames[first : first + count] for first in firsts])


def rewrite_graphs(bundle: Path, spec: ModelSpec) -> None:
    """Rewrite the FP32 graphs in place, see `training.exporting.rewrites`.

    The outputs are compared on noise, in which no value is like its neighbors; weights that are
    stored as FP16 stay so.

    Raises:
        ModelError: an output changed by more than ``TOLERANCE``.
    """
    paths = graph_paths(bundle, spec)
    stored = [onnx.load(path) for path in paths]
    before = [widened(graph) for graph in stored]
    after = [rewritten(graph) for graph in before]
    _expect_equal(spec, before, after, noise_windows(spec), "rewriting", TOLERANCE)
    for path, old, wide, new in zip(paths, stored, before, after, strict=True):
        onnx.save(narrowed(new) if len(old.graph.node) > len(wide.graph.node) else new, path)


def store_in_half(bundle: Path, spec: ModelSpec) -> None:
    """Store the weights of the FP32 graphs as FP16, see `training.exporting.storage`.

    Raises:
        ModelError: an output changed by more than a small part of it, or a weight is too large.
    """
    paths = graph_paths(bundle, spec)
    before = [load_graph(path) for path in paths]
    after = [narrowed(graph) for graph in before]
    streets = np.stack([window.images for window in parity_windows(spec)])
    _expect_equal(spec, before, after, streets, "storing weights as FP16", _STORED_TOLERANCE)
    for path, graph in zip(paths, after, strict=True):
        onnx.save(graph, path)


def _expect_equal(
    spec: ModelSpec,
    before: Sequence[onnx.ModelProto],
    after: Sequence[onnx.ModelProto],
    windows: Windows,
    what: str,
    limit: float,
) -> None:
    """Compare the outputs of the depth and the pose graph."""
    given = _depth_inputs(windows), _pose_inputs(before[0], spec, windows)
    files = spec.depth_file, spec.pose_file
    for file, old_graph, new_graph, inputs in zip(files, before, after, given, strict=True):
        run_before, run_after = _runner(old_graph), _runner(new_graph)
        for value in inputs:
            for old, new in zip(run_before(value), run_after(value), strict=True):
                change = float(np.max(np.abs(new - old) / np.maximum(np.abs(old), 1.0)))
                if not change <= limit:  # written so that NaN fails, too
                    raise ModelError(
                        f"{what} changed the output of {file} by {change:.1e}, expected at most "
                        f"{limit:.0e}; the bundle is not written"
                    )


def add_variants(
    bundle: Path, spec: ModelSpec, names: Sequence[str], windows: Windows
) -> ModelSpec:
    """Write the graphs of variants beside the FP32 graphs.

    Args:
        bundle: folder with the FP32 graphs of ``spec``.
        spec: of the bundle; earlier variants of these names are replaced.
        names: some of `sfm_ros.model_variants.VARIANTS`.
        windows: see `calibration_windows`.

    Returns:
        The spec that names the new graphs; it is not saved.

    Raises:
        ModelError: a weight cannot be represented.
    """
    graphs = [load_graph(path) for path in graph_paths(bundle, spec)]
    variants = dict(spec.variants)
    for name in names:
        if name not in MADE:
            variants[name] = spec.graphs(name)
            continue
        depth_file, pose_file = _files(name)
        onnx.save(_made(name, graphs[0], _depth_inputs(windows)), bundle / depth_file)
        if name in STYLES and spec.pose_input == "features":
            # A few small layers; from 8 bits on the motion would be a tenth worse.
            pose_file = spec.pose_file
        else:
            onnx.save(_made(name, graphs[1], _pixels(windows)), bundle / pose_file)
        variants[name] = GraphVariant(depth_file=depth_file, pose_file=pose_file)
    return dataclasses.replace(spec, variants=variants)


def _made(name: str, graph: onnx.ModelProto, inputs: Iterator[npt.NDArray]) -> onnx.ModelProto:
    return in_half(graph) if name == HALF else quantized(graph, inputs, STYLES[name])


def _pixels(windows: Windows) -> Iterator[npt.NDArray]:
    return (window[None] for window in windows)


def _depth_inputs(windows: Windows) -> Iterator[npt.NDArray]:
    return (window[-1][None] for window in windows)


def _pose_inputs(
    depth: onnx.ModelProto, spec: ModelSpec, windows: Windows
) -> Iterator[npt.NDArray]:
    """What the pose graph sees of the windows: the pixels, or features of the depth graph."""
    if spec.pose_input != "features":
        yield from _pixels(windows)
        return
    run = _runner(depth)
    for window in windows:
        yield np.stack([run(frame[None])[1][0] for frame in window])[None]


def _runner(model: onnx.ModelProto) -> Callable[[npt.NDArray], list[npt.NDArray]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = model.graph.input[0].name
    return lambda value: session.run(None, {name: value})


def noise_windows(spec: ModelSpec, count: int = 3) -> Windows:
    """Windows of noise, on which a rewritten graph is compared with the given one."""
    shape = (count, spec.sequence_length, spec.height, spec.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
