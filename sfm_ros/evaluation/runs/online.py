"""Plays a bag through the node over the middleware and records what comes back.

Three processes as on a robot: the player is the camera, the node is the node, the recorder is
whoever uses the odometry. They share nothing but topics.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfm_ros.config import SfmConfig, iter_fields
from sfm_ros.evaluation.runs.processes import ProcessError, ProcessGroup
from sfm_ros.evaluation.runs.recording import Recording, count_received, is_open

NODE = "/sfm_node"
_POLL_S = 0.05
_STALLED_S = 30.0
# Longer than the 3 s after which Fast DDS repairs what was lost at the end.
_QUIET_AFTER_PLAYER_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What to play and how.

    Attributes:
        bag: any bag the player can read.
        image_topic, camera_info_topic: in the bag.
        compressed: the images are sensor_msgs/CompressedImage.
        frames: images that will be played.
        frames_to_start: images at the start that get no odometry (window of the pose network).
        rate: 1 plays as fast as it was recorded, 0 as fast as it is taken.
        config: of the odometry; what it says of the node is not used.
        keep_every: keep every so many-th image and depth map.
    """

    bag: Path
    image_topic: str
    camera_info_topic: str
    compressed: bool = False
    frames: int
    frames_to_start: int
    rate: float = 1.0
    config: SfmConfig = field(default_factory=SfmConfig)
    keep_every: int = 10


def run_over_middleware(
    plan: RunPlan, folder: Path, on_progress: Callable[[int], None] = lambda _: None
) -> Recording:
    """Start recorder, node and player, wait for the last estimate, stop them.

    Args:
        plan: what to do.
        folder: for the recording and the children's logs; what is there when the run is cut
            short (Ctrl-C) can be read with ``Recording.load``.
        on_progress: called with the number of estimates so far.

    Raises:
        ProcessError: a child failed, or nothing came back; with its last log lines.
    """
    recording = folder / "recording"
    with ProcessGroup(folder / "logs", private_middleware()) as children:
        children.start("recorder", _recorder_command(plan, recording))
        _wait_for_recorder(children, recording)
        children.start("node", _node_command(plan))
        children.start("player", _player_command(plan))
        _watch(children, plan, recording, on_progress)
    return Recording.load(recording)


def private_middleware() -> dict[str, str]:
    """Environment that keeps a run to this machine and apart from other runs and robots."""
    return {
        "ROS_DOMAIN_ID": str(20 + os.getpid() % 80),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def _wait_for_recorder(children: ProcessGroup, recording: Path) -> None:
    """Until it has begun: it will listen long before the node has loaded its model."""
    deadline = time.monotonic() + _STALLED_S
    while not is_open(recording):
        children.check("recorder")
        if not children.running("recorder") or time.monotonic() > deadline:
            raise ProcessError(f"the recorder did not start:\n{children.log_tail('recorder')}")
        time.sleep(_POLL_S)


def _watch(
    children: ProcessGroup, plan: RunPlan, recording: Path, on_progress: Callable[[int], None]
) -> None:
    """Until every image and every estimate has been heard, or no more can be expected."""
    expected = (plan.frames, plan.frames - plan.frames_to_start)
    received, last_news = (0, 0), time.monotonic()
    while received < expected or received[1] < expected[1]:
        time.sleep(_POLL_S)
        children.check("player", "node", "recorder")
        now, found = time.monotonic(), count_received(recording)
        if found != received:
            received, last_news = found, now
            on_progress(received[1])
        quiet_s = now - last_news
        if not children.running("player") and quiet_s > _QUIET_AFTER_PLAYER_S:
            return
        if quiet_s > _STALLED_S:
            raise ProcessError(
                f"nothing came for {_STALLED_S:.0f} s after {received[0]} of {expected[0]} images "
                f"and {received[1]} of {expected[1]} estimates; "
                f"the node says:\n{children.log_tail('node')}\n"
                f"the player says:\n{children.log_tail('player')}"
            )


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"sfm_ros.ros.{name}", *arguments]


def _ros_arguments(remaps: dict[str, str], parameters: dict[str, str]) -> list[str]:
    words = ["--ros-args"]
    for name, target in remaps.items():
        words += ["-r", f"{name}:={target}"]
    for name, value in parameters.items():
        words += ["-p", f"{name}:={value}"]
    return words


def _recorder_command(plan: RunPlan, recording: Path) -> list[str]:
    remaps = {
        "image": _transported(plan),
        "odometry": f"{NODE}/odometry",
        "depth": f"{NODE}/depth/image",
        "depth/camera_info": f"{NODE}/depth/camera_info",
    }
    options = ["--out", str(recording), "--keep-every", str(plan.keep_every)]
    if plan.compressed:
        options.append("--compressed")
    return _module("tools.run_recorder", *options, *_ros_arguments(remaps, {}))


def _node_command(plan: RunPlan) -> list[str]:
    remaps = {"image": plan.image_topic, "camera_info": plan.camera_info_topic}
    parameters = {
        **_odometry_parameters(plan.config),
        "node.image_queue": "every",
        "node.compressed": str(plan.compressed).lower(),
        "node.extrinsics_wait_s": "0.0",  # nobody publishes TF: it is the camera's own odometry
    }
    return _module("node", *_ros_arguments(remaps, parameters))


def _odometry_parameters(config: SfmConfig) -> dict[str, str]:
    """What differs from the defaults, but for the node's own."""
    defaults = {name: value for name, _, value in iter_fields()}
    return {
        name: _as_yaml(value)
        for name, _, value in iter_fields(config)
        if value != defaults[name] and not name.startswith("node.")
    }


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _player_command(plan: RunPlan) -> list[str]:
    topics = [_transported(plan), plan.camera_info_topic]
    options = ["--topics", *topics, "--rate", str(plan.rate), "--max-images", str(plan.frames)]
    # The node listens to both, the recorder to the images.
    options += ["--wait-for-subscribers", "2", "--image-subscribers", "2"]
    return _module("tools.player", str(plan.bag), *options)


def _transported(plan: RunPlan) -> str:
    """The topic the images really are on."""
    return f"{plan.image_topic}/compressed" if plan.compressed else plan.image_topic
