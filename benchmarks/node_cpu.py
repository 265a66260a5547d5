"""Processor time of the node: without images, and at 10 Hz beside what its networks take.

    python benchmarks/node_cpu.py [--engine onnx] [--precision fp32] [--model DIR] [--seconds 20]

Reads /proc/PID/stat of the node's process. What the networks and the whole of the odometry take is
measured on the same machine right after, as processor time in a process of their own, one frame
after the other; what remains are messages, conversions, and threads that wait for each other.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from node_latency import StreetOfImages

from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, IMAGE_TOPIC, write_bag
from sfm_ros.cli.engine_options import add_engine_options, with_engine_options
from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.engines.factory import fastest_engine, resolve_bundle
from sfm_ros.engines.window_runner import gray_windows
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import private_middleware
from sfm_ros.evaluation.runs.processes import ProcessGroup
from sfm_ros.model_spec import ModelSpec
from sfm_ros.odometry import VisualOdometry

_WARM_UP_S = 4.0
_RATE_HZ = 10.0
_WARM_UPS, _FRAMES = 10, 60


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_engine_options(parser)
    parser.add_argument("--size", default="1242x375", help="size of the images")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--inference", metavar="SIZE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.inference:
            print(
                *arithmetic_cpu_s(with_engine_options(ModelConfig(), options), options.inference)
            )
            return 0
        measure(options)
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace) -> None:
    """Run the node idle and busy, then the networks alone; print the use of a core."""
    model = with_engine_options(ModelConfig(), options)
    bundle = resolve_bundle(model.bundle).resolve()
    model = replace(model, bundle=str(bundle))
    with tempfile.TemporaryDirectory(prefix="sfm_benchmark_") as folder:
        work = Path(folder)
        write_bag(_street(options, _RATE_HZ * 4), work / "bag", work / "ground_truth")
        os.environ.update(private_middleware())
        with ProcessGroup(work / "logs") as children:
            remaps = {"image": IMAGE_TOPIC, "camera_info": CAMERA_INFO_TOPIC}
            children.start("node", node_words(model, remaps))
            counter = OdometryCounter()
            counter.wait_for_node()
            counter.spin(_WARM_UP_S)
            pid = children.pid("node")
            idle = _core_use(pid, options.seconds, counter)[0]
            player = [sys.executable, "-m", "sfm_ros.ros.tools.player", str(work / "bag")]
            children.start("player", [*player, "--loop", "--best-effort", "--rate", "1"])
            counter.wait_for_odometry()
            counter.spin(_WARM_UP_S)
            busy, rate = _core_use(pid, options.seconds, counter)
            children.check("node")
            counter.close()
    word = [sys.executable, __file__, "--model", str(bundle), "--inference", options.size]
    word += ["--engine", model.engine, "--precision", model.precision]
    word += ["--threads", str(model.threads)]
    found = subprocess.run(word, check=True, capture_output=True, text=True).stdout.split()
    networks_s, step_s = (float(number) for number in found)
    print(provenance())
    about = f"engine {model.engine}, precision {model.precision}, {model.threads} threads"
    print(f"{options.size} bgr8 at {_RATE_HZ:g} Hz, model {ModelSpec.load(bundle).name}, {about}")
    print(f"{'without images':32}{100 * idle:8.1f} % of a core")
    print(f"{f'at {rate:.1f} Hz of odometry':32}{100 * busy:8.1f} % of a core")
    print(f"{'the networks':32}{100 * networks_s * rate:8.1f} % ({1000 * networks_s:.1f} ms each)")
    print(f"{'the odometry, networks included':32}{100 * step_s * rate:8.1f} %")
    print(f"{'all the rest':32}{100 * (busy - step_s * rate):8.1f} %")


def _street(options: argparse.Namespace, frames: float) -> StreetOfImages:
    width, height = (int(number) for number in options.size.split("x"))
    return StreetOfImages(width, height, int(frames))


def node_words(model: ModelConfig, remaps: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The command that starts a node with this model, and topics under other names."""
    words = [sys.executable, "-m", "sfm_ros.ros.node", "--ros-args"]
    for name, target in remaps.items():
        words += ["-r", f"{name}:={target}"]
    for name, value in asdict(model).items():
        words += ["-p", f"model.{name}:={value}"]
    return [*words, "-p", "node.extrinsics_wait_s:=0.0"]


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used so far, in user and kernel mode, of all its threads."""
    # The name, in parentheses, may contain blanks; the fields after it do not.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _core_use(pid: int, seconds: float, counter: OdometryCounter) -> tuple[float, float]:
    """Fraction of a core that a process uses for some time, and odometry messages per second."""
    cpu_s, received, begin = cpu_seconds(pid), counter.received, time.monotonic()
    counter.spin(seconds)
    elapsed = time.monotonic() - begin
    return (cpu_seconds(pid) - cpu_s) / elapsed, (counter.received - received) / elapsed


def arithmetic_cpu_s(model: ModelConfig, size: str) -> tuple[float, float]:
    """Processor time of one inference and of one step of the odometry, and of nothing else."""
    engine = fastest_engine(model)
    width, height = (int(number) for number in size.split("x"))
    windows = itertools.islice(gray_windows(engine.spec), _WARM_UPS + _FRAMES)
    networks_s = mean_cpu_s(engine.infer, windows)
    odometry = VisualOdometry(engine, SfmConfig(model=model))
    street = StreetOfImages(width, height, _WARM_UPS + _FRAMES)
    return networks_s, mean_cpu_s(odometry.step, (item.frame for item in street))


def mean_cpu_s(function: Callable[[Any], object], values: Iterable[Any]) -> float:
    """Processor time of a call, the mean but for the first ones."""
    times_s = []
    for value in values:
        begin = time.process_time()
        function(value)
        times_s.append(time.process_time() - begin)
    return sum(times_s[_WARM_UPS:]) / _FRAMES


class OdometryCounter:
    """Counts the node's odometry messages."""

    def __init__(self) -> None:
        import rclpy
        from nav_msgs.msg import Odometry

        self._rclpy = rclpy
        rclpy.init()
        self._node = rclpy.create_node("odometry_counter")
        self._node.create_subscription(Odometry, "/sfm_node/odometry", self._on_odometry, 10)
        self.received = 0

    def _on_odometry(self, _: object) -> None:
        self.received += 1

    def spin(self, seconds: float) -> None:
        """Receive for this long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._rclpy.spin_once(self._node, timeout_sec=0.1)

    def wait_for_node(self) -> None:
        """Wait until the node publishes odometry."""
        self._wait(lambda: self._node.count_publishers("/sfm_node/odometry"), "the node")

    def wait_for_odometry(self) -> None:
        """Wait until the first odometry has been received."""
        self._wait(lambda: self.received, "odometry")

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {what}")
            self.spin(0.1)

    def close(self) -> None:
        """Leave the middleware."""
        self._node.destroy_node()
        self._rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
