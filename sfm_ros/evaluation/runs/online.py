"""Plays a bag through the node and records its outputs.

Three processes as on a robot: the player stands for the camera, the recorder for a user of the
odometry. They communicate by topics only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from sfm_ros.bags.camera import PlayableBag
from sfm_ros.config import SfmConfig, iter_fields
from sfm_ros.errors import without_ros
from sfm_ros.evaluation.runs.processes import ProcessError, ProcessGroup
from sfm_ros.evaluation.runs.recording import RECORDER_NAME, Recording, count_received, is_open

NODE = "/sfm_node"
_RECORDER, _NODE, _PLAYER = (
    (sys.executable, "-m", f"sfm_ros.ros.{name}")
    for name in ("tools.run_recorder", "node", "tools.player")
)
RECORDING = "recording"
"""Folder of the recording within the folder of a run."""
_POLL_S = 0.05
_STALLED_S = 30.0
# Longer than the 3 s after which Fast DDS repairs what was lost at the end.
_QUIET_AFTER_PLAYER_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What to play and how.

    Attributes:
        bag: any bag the player can read.
        frames: number of images that are played.
        frames_to_start: images at the start that get no odometry (window of the pose network).
        rate: 1 plays as fast as recorded, 0 as fast as the node takes the images.
        config: of the odometry; its node block is not used.
        keep_every: keep every n-th image and depth map.
    """

    bag: PlayableBag
    frames: int
    frames_to_start: int
    rate: float = 1.0
    config: SfmConfig = field(default_factory=SfmConfig)
    keep_every: int = 10


def run_online(
    plan: RunPlan,
    folder: Path,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Recording:
    """Start recorder, node and player, wait for the last estimate, stop them.

    Args:
        plan: what to play.
        folder: receives the recording and the children's logs. What an interrupted run (Ctrl-C)
            has recorded can be read with ``Recording.load(folder / RECORDING)``.
        on_progress: called with the number of estimates so far.

    Raises:
        ProcessError: a child failed, or sent nothing; with its last log lines.
    """
    if find_spec("rclpy") is None:
        raise ProcessError(without_ros("No module named 'rclpy'"))
    recording = folder / RECORDING
    with ProcessGroup(folder / "logs", private_middleware()) as children:
        children.start("recorder", [*_RECORDER, *_recorder_arguments(plan, recording)])
        _wait_for_recorder(children, recording)
        children.start("node", [*_NODE, *_node_arguments(plan)])
        children.start("player", [*_PLAYER, *_player_arguments(plan)])
        _watch(children, plan, recording, on_progress)
    return Recording.load(recording)


def private_middleware() -> dict[str, str]:
    """Environment that keeps a run to this machine and apart from other runs and robots."""
    return {
        "ROS_DOMAIN_ID": str(20 + os.getpid() % 80),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def _wait_for_recorder(children: ProcessGroup, recording: Path) -> None:
    """Until the recorder writes: it subscribes long before the node has loaded its model."""
    deadline = time.monotonic() + _STALLED_S
    while not is_open(recording):
        children.check("recorder")
        if not children.running("recorder") or time.monotonic() > deadline:
            raise ProcessError(f"the recorder did not start:\n{children.log_tail('recorder')}")
        time.sleep(_POLL_S)


def _watch(
    children: ProcessGroup, plan: RunPlan, recording: Path, on_progress: Callable[[int], object]
) -> None:
    """Until every image and estimate has been received, or no more can be expected."""
    expected = (plan.frames, plan.frames - plan.frames_to_start)
    received, last_change = (0, 0), time.monotonic()
    while received < expected or received[1] < expected[1]:
        time.sleep(_POLL_S)
        children.check("player", "node", "recorder")
        now, found = time.monotonic(), count_received(recording)
        if found != received:
            received, last_change = found, now
            on_progress(received[1])
        quiet_s = now - last_change
        if not children.running("player") and quiet_s > _QUIET_AFTER_PLAYER_S:
            return
        if quiet_s > _STALLED_S:
            raise ProcessError(
                f"nothing was received for {_STALLED_S:.0f} s after {received[0]} of "
                f"{expected[0]} images and {received[1]} of {expected[1]} estimates; "
                f"the node's log:\n{children.log_tail('node')}\n"
                f"the player's log:\n{children.log_tail('player')}"
            )


def _ros_arguments(remaps: dict[str, str], parameters: dict[str, str]) -> list[str]:
    arguments = ["--ros-args"]
    for flag, values in (("-r", remaps), ("-p", parameters)):
        for name, value in values.items():
            arguments += [flag, f"{name}:={value}"]
    return arguments


def _recorder_arguments(plan: RunPlan, recording: Path) -> list[str]:
    remaps = {
        "image": plan.bag.transported_topic,
        "odometry": f"{NODE}/odometry",
        "depth": f"{NODE}/depth/image",
        "depth/camera_info": f"{NODE}/depth/camera_info",
        "depth/uncertainty": f"{NODE}/depth/uncertainty",
    }
    options = ["--out", str(recording), "--keep-every", str(plan.keep_every)]
    if plan.bag.compressed:
        options.append("--compressed")
    return [*options, *_ros_arguments(remaps, {})]


def _node_arguments(plan: RunPlan) -> list[str]:
    remaps = {"image": plan.bag.image_topic, "camera_info": plan.bag.camera_info_topic}
    parameters = {
        name: value
        for name, value, is_changed in options_as_text(plan.config)
        if is_changed and not name.startswith("node.")
    } | {
        "node.image_queue": "every",
        "node.compressed": str(plan.bag.compressed).lower(),
        "node.extrinsics_wait_s": "0.0",  # no TF: odometry of the camera itself
    }
    return _ros_arguments(remaps, parameters)


def options_as_text(config: SfmConfig) -> list[tuple[str, str, bool]]:
    """Each option: its name, its value as YAML, and whether that is not the default."""
    options = zip(iter_fields(config), iter_fields(), strict=True)
    return [
        (name, str(value).lower() if isinstance(value, bool) else str(value), value != default)
        for (name, _, value), (_, _, default) in options
    ]


def _player_arguments(plan: RunPlan) -> list[str]:
    topics = [plan.bag.transported_topic, plan.bag.camera_info_topic]
    options = ["--topics", *topics, "--rate", str(plan.rate), "--max-images", str(plan.frames)]
    subscriptions = [(NODE, topic) for topic in topics] + [(f"/{RECORDER_NAME}", topics[0])]
    for subscription in subscriptions:
        options += ["--wait-for", *subscription]
    return [str(plan.bag.path), *options]
