"""A robot has neither torch nor, before its workspace is sourced, ROS: these tests are skipped.

Every file of tests is collected or skipped with the reason, so that "colcon test" reports it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ABSENT = """
    torch onnx onnxscript kornia tensorboard mcap mcap_ros2 tensorrt tensorrt_rtx cuda openvino
    rclpy builtin_interfaces diagnostic_msgs geometry_msgs lifecycle_msgs nav_msgs rcl_interfaces
    rosgraph_msgs sensor_msgs std_msgs std_srvs tf2_msgs tf2_ros
""".split()
REASONS = (
    "torch is not installed",
    "onnx is not installed",
    "mcap is not installed",
    "ROS 2 (rclpy) is not installed",
)
MAY_NEED_MORE = "test/launch/test_wheel.py"  # a newer setuptools than some machines have


def test_without_torch_and_ros_every_file_is_collected_or_skipped_with_a_reason(
    repository: Path, tmp_path: Path
) -> None:
    # Imported by every interpreter at its start: the packages then count as not installed.
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in ABSENT)]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    collected = set(re.findall(r"^(test/\S+\.py)::", process.stdout, re.M))
    skips = re.findall(r"^SKIPPED \[1\] (test/\S+\.py):\d+: (.*)", process.stdout, re.M)
    skipped = {file: reason for file, reason in skips if file != MAY_NEED_MORE}
    files = {str(p.relative_to(repository)) for p in (repository / "test").rglob("test_*.py")}
    assert collected | set(skipped) == files - ({MAY_NEED_MORE} - collected)
    assert {reason.partition(" (requirements")[0] for reason in skipped.values()} == set(REASONS)
    folders = {file.split("/")[1] for file in skipped}
    assert folders <= {"bags", "cli", "engines", "ros", "training"}
