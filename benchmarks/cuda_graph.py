"""Latency of the built TensorRT engines with and without a CUDA graph; needs an NVIDIA GPU.

    sfm_build_engine road && python benchmarks/cuda_graph.py

Windows of the stored frames, the two ways in turn; milliseconds of depth and pose together, as the
node waits for them: least, median, 99th percentile.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sfm_ros.config import ModelConfig  # noqa: E402
from sfm_ros.engines.factory import resolve_bundle  # noqa: E402
from sfm_ros.engines.parity_frames import parity_windows  # noqa: E402
from sfm_ros.engines.tensorrt_engine import TensorRtEngine  # noqa: E402
from sfm_ros.errors import SfmRosError  # noqa: E402

ROUNDS, RUNS = 20, 25


def parse() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16", "int8"))
    return parser.parse_args()


def measured(engine: TensorRtEngine, windows: list) -> list[float]:
    """Milliseconds of each of `RUNS` inferences."""
    times = []
    for run in range(RUNS):
        started = time.perf_counter()
        engine.infer(windows[run % len(windows)])
        times.append(1000 * (time.perf_counter() - started))
    return times


def main() -> int:
    """Measure and print; 1 if the engines cannot be loaded."""
    options = parse()
    config = ModelConfig(bundle=options.model, precision=options.precision)
    engines: dict[str, TensorRtEngine] = {}
    times: dict[str, list[float]] = {}
    with ExitStack() as opened:
        try:
            bundle = resolve_bundle(options.model)
            for name, uses in (("CUDA graph", True), ("single calls", False)):
                engine = TensorRtEngine(bundle, config, uses_graph=uses)
                engines[name] = opened.enter_context(closing(engine))
                times[name] = []
        except (SfmRosError, ModuleNotFoundError) as error:
            print(f"cuda_graph: {error}", file=sys.stderr)
            return 1
        print(engines["CUDA graph"].about)
        windows = parity_windows(engines["CUDA graph"].spec)
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                times[name] += measured(engine, windows)
    for name, values in times.items():
        least, median, p99 = np.percentile(values[RUNS:], (0, 50, 99))
        print(f"{name}: {least:.3f} {median:.3f} {p99:.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
