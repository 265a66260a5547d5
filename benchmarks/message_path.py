"""Images between two processes: how many are lost, and their latency.

    python benchmarks/message_path.py [--size 1242x375] [--rate 30] [--seconds 10] [--repeat 1]

Publishes bgr8 images of KITTI's size in one process and counts them in another, as a driver
publishes and as the node subscribes: live, which is best effort, and with ``node.image_queue:
every``, which is reliable, or best effort if ``qos_overrides`` request it for such a driver. With
the Fast DDS profile of this package in both processes, in the publisher alone, and in neither. The
longest pause between two images in the subscriber distinguishes a loss in the transport from one
in a process that got no processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.ros.process.dds_profile import PROFILE, VARIABLES

PAIRS = (
    ("reliable", "live"),
    ("best_effort", "live"),
    ("reliable", "every"),
    ("best_effort", "every"),
)
"""Reliability of the publisher, and mode of the subscriber."""
PROFILES = ("both", "publisher", "none")
_PATIENCE_S = 20.0
_QUIET_S = 3.0
_TOPIC = "/message_path/image"


def main() -> int:
    """Measure every combination, or act in one of the two roles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1242x375", help="of the images")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=1, help="times each pair is measured")
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES)
    parser.add_argument("--role", choices=("publisher", "subscriber"), help=argparse.SUPPRESS)
    parser.add_argument("--pair", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        return (_publish if options.role == "publisher" else _subscribe)(options)
    print(provenance())
    count = round(options.rate * options.seconds)
    print(f"{count} images of {options.size} bgr8 at {options.rate:g} Hz between two processes")
    print(f"{'profile in':12}{'publisher':>13}{'subscriber':>13}{'lost %':>9}", end="")
    print(f"{'p50 ms':>9}{'p99 ms':>9}{'pause ms':>10}")
    for profile in options.profiles:
        for pair in PAIRS * options.repeat:
            received = _measure(profile, pair)
            lost = 100 * (1 - received["count"] / count)
            row = f"{profile:12}{pair[0]:>13}{pair[1]:>13}{lost:9.1f}"
            row += (
                f"{received['p50_ms']:9.2f}{received['p99_ms']:9.2f}{received['pause_ms']:10.0f}"
            )
            print(row, flush=True)
    return 0


def _measure(profile: str, pair: tuple[str, str]) -> dict[str, Any]:
    subscriber = _start("subscriber", pair, profile == "both")
    publisher = _start("publisher", pair, profile in ("both", "publisher"))
    try:
        output, _ = subscriber.communicate()
        if publisher.wait() or subscriber.returncode:
            raise SystemExit(f"a process ended with an error (profile {profile}, {pair})")
    finally:
        for process in (subscriber, publisher):
            process.kill()
    return json.loads(output.splitlines()[-1])


def _start(role: str, pair: tuple[str, str], with_profile: bool) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    environment["ROS_DOMAIN_ID"] = str(20 + os.getpid() % 80)
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if with_profile:
        environment |= dict.fromkeys(VARIABLES, str(PROFILE))
    words = [sys.executable, str(Path(__file__)), *sys.argv[1:]]
    words += ["--role", role, "--pair", *pair]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def _qos(options: argparse.Namespace) -> Any:
    """As a driver publishes, and as the node subscribes."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from sfm_ros.ros.node.core import image_qos

    reliability, mode = options.pair
    if options.role == "publisher":
        qos = QoSProfile(depth=10 if reliability == "reliable" else 5)
    else:
        qos = image_qos("every" if mode == "every" else "newest")
        if mode == "live":
            return qos
    qos.reliability = (
        ReliabilityPolicy.RELIABLE if reliability == "reliable" else ReliabilityPolicy.BEST_EFFORT
    )
    return qos


def _publish(options: argparse.Namespace) -> int:
    import rclpy
    from sensor_msgs.msg import Image

    from sfm_ros.ros.compat import byte_array
    from sfm_ros.ros.conversions import stamp_from_ns

    width, height = (int(number) for number in options.size.split("x"))
    rclpy.init()
    node = rclpy.create_node("message_path_publisher")
    publisher = node.create_publisher(Image, _TOPIC, _qos(options))
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    message = Image(width=width, height=height, encoding="bgr8", step=3 * width)
    message.data = byte_array(pixels)
    _wait_until(publisher.get_subscription_count)
    time.sleep(0.5)  # the other side may discover it a moment later
    count = round(options.rate * options.seconds)
    begin = time.monotonic()
    for index in range(count):
        time.sleep(max(begin + index / options.rate - time.monotonic(), 0.0))
        message.header.stamp = stamp_from_ns(time.time_ns())
        message.header.frame_id = "last" if index == count - 1 else ""
        publisher.publish(message)
    time.sleep(_QUIET_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _subscribe(options: argparse.Namespace) -> int:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from sfm_ros.ros.conversions import stamp_to_ns

    rclpy.init()
    node = rclpy.create_node("message_path_subscriber")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    taken_s: list[float] = []
    latencies_ms: list[float] = []
    state = {"ended": False, "last_s": time.monotonic() + _PATIENCE_S}

    def take(message: Image) -> None:
        taken_s.append(time.monotonic())
        latencies_ms.append((time.time_ns() - stamp_to_ns(message.header.stamp)) * 1e-6)
        state.update(ended=message.header.frame_id == "last", last_s=taken_s[-1])

    node.create_subscription(Image, _TOPIC, take, _qos(options))
    while not state["ended"] and time.monotonic() - state["last_s"] < _QUIET_S:
        executor.spin_once(timeout_sec=0.1)
    p50, p99 = np.percentile(latencies_ms, (50, 99)) if latencies_ms else (float("nan"),) * 2
    pause_ms = 1000 * float(np.diff(taken_s).max()) if len(taken_s) > 1 else float("nan")
    received = {"count": len(taken_s), "p50_ms": p50, "p99_ms": p99, "pause_ms": pause_ms}
    print(json.dumps(received))
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the other process did not appear")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
