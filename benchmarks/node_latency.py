"""What the node costs beside its networks: from an image's callback to the last published message.

    python benchmarks/node_latency.py [--engine onnx] [--precision fp32] [--model DIR]
        [--mode hybrid] [--size 1242x375] [--frames 150] [--rate 1]

Plays 10 Hz bgr8 images of KITTI's size through the node over the middleware, in three processes as
the demo does, and prints the node's own figures: the total, the engine, the rest, the stages.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sfm_ros.bags.writer import write_bag
from sfm_ros.cli.engine_options import add_engine_options, with_engine_options
from sfm_ros.config import ODOMETRY_MODES, ModelConfig, OdometryConfig, SfmConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import RunPlan, run_online
from sfm_ros.model_spec import ModelSpec
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

_PERIOD_NS = 100_000_000
_SEED = 9100
_IMAGES = 20


class StreetOfImages:
    """A rendered street, driven up and down: tracking needs images with texture."""

    name = "street"

    def __init__(self, width: int, height: int, frames: int) -> None:
        self._frames = frames
        street = SyntheticStreet(
            SyntheticConfig(
                seed=_SEED, width=width, height=height, fx=0.58 * width, frames=_IMAGES
            )
        )
        self._images = [item.frame for item in street]

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[SourceItem]:
        last = _IMAGES - 1
        for index in range(self._frames):
            image = self._images[last - abs(last - index % (2 * last))]
            stamp_ns = (index + 1) * _PERIOD_NS
            yield SourceItem(frame=replace(image, stamp_ns=stamp_ns))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_engine_options(parser)
    parser.add_argument("--mode", choices=ODOMETRY_MODES, default=OdometryConfig().mode)
    parser.add_argument("--size", default="1242x375", help="size of the images")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rate", type=float, default=1.0, help="1 is 10 Hz")
    options = parser.parse_args()
    width, height = (int(number) for number in options.size.split("x"))
    try:
        model = with_engine_options(ModelConfig(), options)
        bundle = resolve_bundle(model.bundle).resolve()
        spec = ModelSpec.load(bundle)
        with tempfile.TemporaryDirectory(prefix="sfm_benchmark_") as folder:
            work = Path(folder)
            source = StreetOfImages(width, height, options.frames)
            plan = RunPlan(
                bag=write_bag(source, work / "bag", work / "ground_truth"),
                frames=options.frames,
                frames_to_start=spec.sequence_length - 1,
                rate=options.rate,
                config=SfmConfig(
                    model=replace(model, bundle=str(bundle)),
                    odometry=OdometryConfig(mode=options.mode),
                ),
                keep_every=options.frames,
            )
            figures = run_online(plan, work).diagnostics
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    report(figures, spec, options.size)
    return 0


def report(figures: dict[str, str], spec: ModelSpec, size: str) -> None:
    """Print the machine, the node's figures and their ratio."""
    print(provenance())
    engine = f"{figures['engine']} {figures['engine_precision']}"
    print(f"{size} bgr8 at the input, model {spec.name} at {spec.width}x{spec.height}, {engine}")
    print(f"{'ms per frame':24}{'p50':>8}{'p99':>8}")
    end = "_p50_ms"
    for stage in [key[: -len(end)] for key in figures if key.endswith(end)]:
        values = (float(figures[f"{stage}_p{percent}_ms"]) for percent in (50, 99))
        name = stage.removeprefix("latency_").replace("_", " ")
        print(f"{name:24}" + "".join(f"{value:8.2f}" for value in values))
    outside, inside = (float(figures[f"latency_{s}_p50_ms"]) for s in ("outside_engine", "engine"))
    if inside > 0:  # the networks have run
        print(f"outside / engine = {outside / inside:.2f}")


if __name__ == "__main__":
    sys.exit(main())
