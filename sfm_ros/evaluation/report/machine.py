"""The machine and the package versions that figures were measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata

from sfm_ros.engines.choice_memory import processor_name

_PACKAGES = (
    "sfm_ros",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "rclpy",
    "rosbags",
)


def machine_facts() -> dict[str, str | int]:
    """Processor, cores available to this process, system and Python."""
    return {
        "cpu": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def package_versions(names: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Versions of those of the packages that are installed; by default what figures depend on."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> str:
    """Two lines to print above figures: the machine, and the package versions."""
    facts = (machine_facts(), package_versions())
    return "\n".join(", ".join(f"{key} {value}" for key, value in each.items()) for each in facts)
