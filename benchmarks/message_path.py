"""Images between two processes: how many are lost, and how long they take.

    python benchmarks/message_path.py [--size 1242x375] [--rate 30] [--seconds 10]

Publishes bgr8 images of KITTI's size from one process and counts them in another, for the three
pairs of quality of service a node meets (its own subscription is best effort, or reliable with
``node.delivery: every``), with the Fast DDS profile of this package in both processes, in the
publisher alone, and in neither.
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

from sfm_ros.evaluation.machine import machine_facts, package_versions
from sfm_ros.ros.dds_profile import PROFILE, VARIABLES

PAIRS = (("reliable", "best_effort"), ("best_effort", "best_effort"), ("reliable", "reliable"))
PROFILES = ("both", "publisher", "none")
_PATIENCE_S = 20.0
_QUIET_S = 3.0
_TOPIC = "/message_path/image"


def main() -> int:
    """Measure every combination, or play one of the two roles."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="1242x375", help="of the images")
    parser.add_argument("--rate", type=float, default=30.0, help="images a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--role", choices=("publisher", "subscriber"), help=argparse.SUPPRESS)
    parser.add_argument("--reliability", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        return (_publish if options.role == "publisher" else _subscribe)(options)
    print(", ".join(f"{key} {value}" for key, value in machine_facts().items()))
    print(", ".join(f"{key} {value}" for key, value in package_versions().items()))
    count = round(options.rate * options.seconds)
    print(f"{count} images of {options.size} bgr8 at {options.rate:g} Hz between two processes")
    print(f"{'profile in':12}{'publisher':>13}{'subscriber':>13}{'lost %':>9}", end="")
    print(f"{'p50 ms':>9}{'p99 ms':>9}")
    for profile in PROFILES:
        for pair in PAIRS:
            heard = _measure(profile, pair)
            lost = 100 * (1 - heard["count"] / count)
            row = f"{profile:12}{pair[0]:>13}{pair[1]:>13}{lost:9.1f}"
            print(row + f"{heard['p50_ms']:9.2f}{heard['p99_ms']:9.2f}", flush=True)
    return 0


def _measure(profile: str, pair: tuple[str, str]) -> dict[str, Any]:
    subscriber = _start("subscriber", pair[1], profile == "both")
    publisher = _start("publisher", pair[0], profile in ("both", "publisher"))
    try:
        output, _ = subscriber.communicate()
        if publisher.wait() or subscriber.returncode:
            raise SystemExit(f"a process ended with an error (profile {profile}, {pair})")
    finally:
        for process in (subscriber, publisher):
            process.kill()
    return json.loads(output.splitlines()[-1])


def _start(role: str, reliability: str, with_profile: bool) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    environment["ROS_DOMAIN_ID"] = str(20 + os.getpid() % 80)
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if with_profile:
        environment |= dict.fromkeys(VARIABLES, str(PROFILE))
    words = [sys.executable, str(Path(__file__)), *sys.argv[1:]]
    words += ["--role", role, "--reliability", reliability]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


def _qos(options: argparse.Namespace) -> Any:
    """As a driver publishes, and as the node subscribes."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    if options.reliability == "best_effort":
        depth = 2 if options.role == "subscriber" else 5
        return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
    if options.role == "subscriber":
        return QoSProfile(history=HistoryPolicy.KEEP_ALL)
    return QoSProfile(depth=10)


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
    time.sleep(0.5)  # the other side may know of it a moment later
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
    from sensor_msgs.msg import Image

    from sfm_ros.ros.conversions import stamp_to_ns

    rclpy.init()
    node = rclpy.create_node("message_path_subscriber")
    taken_ms: list[float] = []
    state = {"ended": False, "news": time.monotonic() + _PATIENCE_S}

    def take(message: Image) -> None:
        taken_ms.append((time.time_ns() - stamp_to_ns(message.header.stamp)) * 1e-6)
        state.update(ended=message.header.frame_id == "last", news=time.monotonic())

    node.create_subscription(Image, _TOPIC, take, _qos(options))
    while not state["ended"] and time.monotonic() - state["news"] < _QUIET_S:
        rclpy.spin_once(node, timeout_sec=0.1)
    p50, p99 = np.percentile(taken_ms, (50, 99)) if taken_ms else (float("nan"),) * 2
    print(json.dumps({"count": len(taken_ms), "p50_ms": float(p50), "p99_ms": float(p99)}))
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
