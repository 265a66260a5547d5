"""A camera that is faster than the node: does the latency of an image stay the same?

    python benchmarks/overload.py [--size 1242x375] [--model DIR] [--threads 2] [--seconds 15]
        [--times 0.5 1 2 4]

Finds the rate at which the live node (``node.image_queue: newest``) processes every image, then
sends at multiples of it, as a driver does, which does not wait. It prints the time from sending an
image until its depth is received in the sending process, over all images that were processed and
over the last quarter of them, in which a growing queue would show. All topics are subscribed to.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm
from traffic import Traffic, node_command

from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import private_middleware
from sfm_ros.evaluation.runs.processes import ProcessGroup
from sfm_ros.model_spec import ModelSpec
from sfm_ros.ros.process.dds_profile import use_large_image_profile

_WARM_UP = 20
_FIRST_S, _PATIENCE_S = 0.5, 10.0
_BACK_TO_BACK = 100


class TimedTraffic(Traffic):
    """Traffic that measures the latency of each image.

    Attributes:
        latencies_s: of the processed images, in order, from sending to receiving the depth.
    """

    def __init__(self, width: int, height: int) -> None:
        self._sent_s: dict[int, float] = {}
        self.latencies_s: list[float] = []
        super().__init__(width, height)

    def send(self) -> None:
        """Send the next image."""
        self._sent_s[self.sent + 1] = time.monotonic()
        super().send()

    def _on_depth(self, content: bytes) -> None:
        now = time.monotonic()
        super()._on_depth(content)
        self.latencies_s.append(now - self._sent_s[self.answered])

    def sustainable_rate(self) -> float:
        """Images per second if the next is sent when the last has been processed."""
        for _ in range(_WARM_UP):  # the first have no depth yet
            self.send()
            self.wait_for_room(1, _FIRST_S)
        begin = time.monotonic()
        for _ in range(_BACK_TO_BACK):
            self.send()
            if not self.wait_for_room(1, _PATIENCE_S):
                raise SfmRosError(f"image {self.sent} was not processed within {_PATIENCE_S:g} s")
        return _BACK_TO_BACK / (time.monotonic() - begin)

    def keep_rate(self, rate: float, seconds: float) -> tuple[int, list[float]]:
        """Number of images sent at a rate for some time, and latencies of those processed."""
        self.latencies_s = []
        begin = time.monotonic()
        count = int(rate * seconds)
        for index in tqdm(range(count), unit="image", disable=None, leave=False):
            time.sleep(max(begin + index / rate - time.monotonic(), 0.0))
            self.send()
        if not self.wait_for_room(1, _PATIENCE_S):
            raise SfmRosError("the last image was not processed: the node stopped")
        return count, self.latencies_s


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1242x375", help="of the images")
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    parser.add_argument("--threads", type=int, default=ModelConfig().threads, help="of the engine")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate")
    parser.add_argument("--times", type=float, nargs="+", default=[0.5, 1.0, 2.0, 4.0])
    options = parser.parse_args()
    try:
        measure(options)
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace) -> None:
    """All rates, one after the other, with one node."""
    width, height = (int(number) for number in options.size.split("x"))
    bundle = resolve_bundle(options.model).resolve()
    os.environ.update(private_middleware())
    use_large_image_profile()
    print(provenance())
    about = f"model {ModelSpec.load(bundle).name} on {options.threads} threads"
    print(f"{options.size} rgb8, {about}, all topics subscribed to")
    with (
        tempfile.TemporaryDirectory(prefix="sfm_overload_") as logs,
        ProcessGroup(Path(logs)) as children,
    ):
        children.start("node", node_command(bundle, options.threads, "newest"))
        traffic = TimedTraffic(width, height)
        try:
            traffic.wait_for_node(children)
            sustainable = traffic.sustainable_rate()
            print(f"sustainable: {sustainable:.1f} images per second")
            print(
                f"{'times':>6}{'processed':>11}{'p50':>9}{'p99':>9}{'p99/p50':>9}{'last 1/4':>10}"
            )
            for times in options.times:
                sent, latencies_s = traffic.keep_rate(times * sustainable, options.seconds)
                _report(times, sent, np.array(latencies_s) * 1e3)
        finally:
            traffic.close()


def _report(times: float, sent: int, latencies_ms: np.ndarray) -> None:
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    late = np.percentile(latencies_ms[-len(latencies_ms) // 4 :], 50)
    percent = 100 * len(latencies_ms) / sent
    print(f"{times:6.2f}{percent:9.1f} %{p50:6.1f} ms{p99:6.1f} ms{p99 / p50:9.2f}{late:7.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
