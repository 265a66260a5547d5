"""What the multi-view measurement of depth costs beside the depth network, in one run.

    python benchmarks/multiview.py [--model DIR] [--threads 2] [--bursts 200] [--json FILE]

Runs, in turn, the depth network (ONNX Runtime, FP32) and the measurement on an image of a rendered
street and two earlier ones, the stages of the measurement, and the fusion over time without it.
Prints the machine, and of each the least and the median wall-clock time, the median processor time
of its own thread, and the ratio of the medians to that of the network. Bursts that took twice the
least time of their kind, because another process has disturbed them, are counted and left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from sfm_ros.depth import multiview
from sfm_ros.depth.fusion import DepthFusion
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.multiview_config import MultiViewConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.geometry import inverse
from sfm_ros.model_spec import ModelSpec
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

_FRAMES_BACK = (1, 3)
_PRIOR_SIGMA = 0.3
_DISTURBED = 2.0
_NETWORK = "depth network"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Milliseconds of one kind of work, over the bursts that count."""

    least_ms: float
    median_ms: float
    thread_ms: float
    kept: int
    of: int


class Work:
    """One image with its sources, and everything that is timed on it."""

    def __init__(self, bundle: Path, threads: int) -> None:
        spec = ModelSpec.load(bundle)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(bundle / spec.graphs("fp32").depth_file), options
        )
        street = SyntheticStreet(
            SyntheticConfig(seed=9201, width=spec.width, height=spec.height, frames=8, kind="city")
        )
        items = [street.render(7 - back) for back in (0, *_FRAMES_BACK)]
        self._rgb = items[0].frame.rgb[None]
        grays = [cv2.cvtColor(item.frame.rgb, cv2.COLOR_RGB2GRAY) for item in items]
        pose = street.poses[7]
        motions = [inverse(street.poses[7 - back]) @ pose for back in _FRAMES_BACK]
        self._views = (grays[0], grays[1:], motions, street.intrinsics.K)
        self._prior = InverseDepth.from_depth(self.network(), _PRIOR_SIGMA)
        multiview.compile_kernels()
        self._depth, self._guess = items[0].depth_m, self.network()
        found, self._T_prev_curr = self.measure(), inverse(street.poses[6]) @ pose
        self._fusion = DepthFusion(lambda *_, **__: found)

    def network(self) -> np.ndarray:
        """The network's depth (h, w)."""
        return self._session.run(["depth"], {"rgb": self._rgb})[0][0]

    def measure(self, executor: ThreadPoolExecutor | None = None) -> InverseDepth:
        """The measurement."""
        return multiview.measure(*self._views, self._prior, executor=executor)

    def fuse(self) -> None:
        """One frame of the fusion over time, with a measurement that costs nothing."""
        gray, _, _, K = self._views
        self._fusion.step(gray, self._guess, K, self._T_prev_curr)

    def stages(self) -> dict[str, Callable[[], object]]:
        """The parts of the measurement, on one thread."""
        target, sources, motions, K = self._views
        config = MultiViewConfig()
        full = multiview.Search(target, sources, motions, K, config, None)
        half = full.half()
        guess = np.array(self._prior.inv_depth)
        reach = np.full_like(guess, config.range_sigmas * _PRIOR_SIGMA)
        margin = np.ones_like(guess)
        small = [cv2.resize(a, half.size, interpolation=cv2.INTER_AREA) for a in (guess, reach)]
        return {
            "  normalize": lambda: multiview.Search(target, sources, motions, K, config, None),
            "  halve and normalize": full.half,
            "  search at half size": lambda: half.find_coarse(*small),
            "  search at full size": lambda: full.find_fine(guess, reach, margin),
        }

    def accuracy(self) -> str:
        """What the measurement is worth on this image."""
        found, depth = self.measure(), self._depth
        known = (depth > 0) & (depth < 80)
        both = known & found.valid
        errors = [
            np.abs(d[both] / depth[both] - 1).mean() for d in (found.depth(), self.network())
        ]
        return (
            f"valid {both.sum() / known.sum():.0%} of what is nearer than 80 m, abs_rel there "
            f"{errors[0]:.3f}, the network's {errors[1]:.3f}"
        )


def interleaved(work: dict[str, Callable[[], object]], bursts: int) -> dict[str, Timing]:
    """Time each kind of work in turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(bursts):
        for name, function in work.items():
            wall, own = time.perf_counter(), time.thread_time()
            function()
            times[name].append((time.perf_counter() - wall, time.thread_time() - own))
    return {name: _timing(np.array(values) * 1e3) for name, values in times.items()}


def _timing(values: np.ndarray) -> Timing:
    """From the wall-clock and thread time (n, 2) of the bursts, milliseconds."""
    least = float(values[:, 0].min())
    kept = values[values[:, 0] < _DISTURBED * least]
    wall, own = np.median(kept, axis=0)
    return Timing(
        least_ms=least, median_ms=float(wall), thread_ms=float(own), kept=len(kept), of=len(values)
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default", help="bundle, or name of a shipped one")
    parser.add_argument("--threads", type=int, default=2, help="of the network")
    parser.add_argument("--bursts", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    work = Work(resolve_bundle(options.model), options.threads)
    with ThreadPoolExecutor(1) as executor:
        kinds = {
            _NETWORK: work.network,
            "measurement, 1 thread": work.measure,
            "measurement, 2 threads": lambda: work.measure(executor),
            **work.stages(),
            "fusion over time": work.fuse,
        }
        found = interleaved(kinds, options.bursts)
    print(provenance())
    print(work.accuracy())
    print(f"{'':26}  least ms  median ms  thread ms  ratio  kept")
    for name, t in found.items():
        ratio = t.median_ms / found[_NETWORK].median_ms
        print(
            f"{name:26}{t.least_ms:10.2f}{t.median_ms:11.2f}{t.thread_ms:11.2f}{ratio:7.2f}"
            f"  {t.kept}/{t.of}"
        )
    if options.json:
        options.json.write_text(json.dumps({name: asdict(t) for name, t in found.items()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
