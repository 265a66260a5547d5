"""Does another participant that floods the node's topics and services delay an honest camera?

    python benchmarks/flood.py [--size 640x192] [--threads 2] [--seconds 10] [--kinds frames ...]

An honest camera, whose robot turns it on /tf, sends images at a steady rate; beside it each kind
of `flooder.py` floods in turn. It prints the latency of the camera's images, how many of them were
answered, the reasons that ~/status counted meanwhile, and the node's memory before and after.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import flooder
import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from overload import TimedTraffic
from tf2_msgs.msg import TFMessage
from traffic import node_command

from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import private_middleware
from sfm_ros.evaluation.runs.processes import ProcessGroup
from sfm_ros.ros.process.dds_profile import use_large_image_profile

_RATE_HZ, _REST_S = 5.0, 3.0
_TF_PERIOD_S = 0.02


class HonestCamera(TimedTraffic):
    """A camera that a robot turns, its calibration, and the status of the node."""

    def __init__(self, width: int, height: int) -> None:
        self.status: dict[str, str] = {}
        super().__init__(width, height)
        self._node.create_subscription(DiagnosticStatus, "/sfm_node/status", self._on_status, 10)
        self._tf = self._node.create_publisher(TFMessage, "/tf", 100)
        self._node.create_timer(_TF_PERIOD_S, self._turn)

    def _on_status(self, message: Any) -> None:
        self.status = {entry.key: entry.value for entry in message.values}

    def _turn(self) -> None:
        transform = TransformStamped(child_frame_id="camera_optical")
        transform.header.frame_id = "base_link"
        transform.header.stamp = self._node.get_clock().now().to_msg()
        self._tf.publish(TFMessage(transforms=[transform]))

    def _on_depth(self, content: bytes) -> None:
        with contextlib.suppress(KeyError):  # of an image of the flooder
            super()._on_depth(content)

    def send_for(self, seconds: float) -> tuple[int, np.ndarray]:
        """How many images are sent, and the latencies of those answered, in ms."""
        self.latencies_s = []
        begin, count = time.monotonic(), int(seconds * _RATE_HZ)
        for index in range(count):
            time.sleep(max(begin + index / _RATE_HZ - time.monotonic(), 0.0))
            self._infos.publish(self._info)  # with each image, as a driver does
            self.send()
        self.wait_for_room(1, _REST_S)
        return count, np.array(self.latencies_s) * 1e3

    def reasons(self) -> dict[str, int]:
        """Images so far by reason."""
        counts = {key: value for key, value in self.status.items() if key.startswith("count_")}
        return {key.removeprefix("count_"): int(value) for key, value in counts.items()}


def rss_mb(pid: int) -> float:
    """Resident memory of a process, 10^6 bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024e-6 for line in lines if line.startswith("VmRSS"))


def report(kind: str, camera: HonestCamera, children: ProcessGroup, options: Any) -> None:
    """One row of the table."""
    before, reasons_before = rss_mb(children.pid("node")), camera.reasons()
    if kind in flooder.RATES_HZ:
        script = str(Path(flooder.__file__))
        words = [kind, "--size", options.size, "--seconds", str(options.seconds + 1)]
        children.start(kind, [sys.executable, script, *words])
        time.sleep(1.0)
    sent, latencies_ms = camera.send_for(options.seconds)
    trouble = camera.status.get("last_trouble", "")
    peak = rss_mb(children.pid("node"))
    camera.send_for(_REST_S)
    children.check("node")
    new = Counter(camera.reasons()) - Counter(reasons_before)
    p50, p99 = np.percentile(latencies_ms, (50, 99)) if len(latencies_ms) else (np.nan, np.nan)
    print(
        f"{kind:18}{100 * len(latencies_ms) / sent:8.0f} %{p50:8.1f}{p99:8.1f}{before:9.1f}"
        f"{peak:8.1f}{rss_mb(children.pid('node')):8.1f}  "
        f"{', '.join(f'{reason} {count}' for reason, count in new.items())} | {trouble}"
    )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="640x192", help="of the images")
    parser.add_argument("--threads", type=int, default=ModelConfig().threads, help="of the engine")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each kind")
    parser.add_argument("--kinds", nargs="+", default=list(flooder.RATES_HZ))
    options = parser.parse_args()
    width, height = (int(number) for number in options.size.split("x"))
    os.environ.update(private_middleware())
    use_large_image_profile()
    bundle = resolve_bundle("default").resolve()
    command = node_command(bundle, options.threads, "newest", extrinsics_wait_s=10.0)
    with (
        tempfile.TemporaryDirectory(prefix="sfm_flood_") as logs,
        ProcessGroup(Path(logs)) as children,
    ):
        children.start("node", command)
        camera = HonestCamera(width, height)
        try:
            camera.wait_for_node(children)
            camera.send_for(5.0)
            print(f"{provenance()}\n{options.size} at {_RATE_HZ:g} Hz; ms, MB")
            print("flood               answered     p50     p99   before    peak   after  reasons")
            for kind in ("none", *options.kinds):
                report(kind, camera, children, options)
        except SfmRosError as error:
            print(f"ERROR: {error}", file=sys.stderr)
            return 1
        finally:
            camera.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
