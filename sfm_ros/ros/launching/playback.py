"""What ``kitti_bag.launch.py`` needs to know of a recording, and who plays and scores it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch_ros.actions import Node

from sfm_ros.bags.camera import inspect_bag
from sfm_ros.bags.pose_messages import POSE_TYPES
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.doctor.observed import TF_TYPES
from sfm_ros.ros.launching.arguments import PACKAGE, full_name, is_ground_truth, is_installed
from sfm_ros.sources.kitti.source import is_kitti

_LAST_IMAGES_S = 5.0
_MOMENT_S = "1.0"
_ODOMETRY = "nav_msgs/msg/Odometry"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A bag or drive that is to be played.

    Attributes:
        path: where it lies.
        image_topic: without the transport's suffix.
        camera_info_topic: of the same camera.
        compressed: the images are on ``image_topic/compressed``.
        optical_frame: frame id of the images.
        has_static_transforms: whether it brings /tf_static.
        ground_truth: (topic, type) of ground-truth poses, or None.
        is_ros2: whether ros2 bag can play it.
    """

    path: Path
    image_topic: str
    camera_info_topic: str
    compressed: bool = False
    optical_frame: str = OPTICAL_FRAME
    has_static_transforms: bool = False
    ground_truth: tuple[str, str] | None = None
    is_ros2: bool = False
    topics: list[str] = field(default_factory=list)

    @property
    def transported(self) -> str:
        """Topic the images really are on."""
        return f"{self.image_topic}/compressed" if self.compressed else self.image_topic


def describe_recording(given: Mapping[str, str]) -> Recorded:
    """Look at what is to be played.

    Raises:
        SfmRosError: it cannot be read, or holds no camera, or several and none was chosen.
    """
    path = Path(given["bag"]).expanduser()
    if path.is_dir() and is_kitti(path):
        return Recorded(
            path=path,
            image_topic=IMAGE_TOPIC,
            camera_info_topic=CAMERA_INFO_TOPIC,
            has_static_transforms=True,
            ground_truth=(GROUND_TRUTH_TOPIC, _ODOMETRY),
            topics=[IMAGE_TOPIC, CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC],
        )
    bag = BagFile(path)
    found = inspect_bag(path, given["image_topic"] or None, given["camera_info_topic"] or None)
    image = f"{found.image_topic}/compressed" if found.compressed else found.image_topic
    poses = [(name, kind) for name, (kind, _) in sorted(bag.topics.items()) if kind in POSE_TYPES]
    ground_truth = poses[0] if len(poses) == 1 else None
    return Recorded(
        path=path,
        image_topic=found.image_topic,
        camera_info_topic=found.camera_info_topic,
        compressed=found.compressed,
        optical_frame=bag.first(image).message.header.frame_id or OPTICAL_FRAME,
        has_static_transforms=any(
            kind in TF_TYPES and name.endswith("tf_static")
            for name, (kind, _) in bag.topics.items()
        ),
        ground_truth=ground_truth,
        is_ros2=not bag.is_ros1,
        topics=[image, found.camera_info_topic, *([ground_truth[0]] if ground_truth else [])],
    )


def player(given: Mapping[str, str], recorded: Recorded) -> Any:
    """The action that plays: ``ros2 bag play``, or the package's own player.

    Raises:
        ValueError: ros2bag was asked for and cannot play this.
    """
    able = recorded.is_ros2 and float(given["rate"]) > 0
    if given["player"] == "ros2bag" and not able:
        raise ValueError(
            f"ros2 bag cannot play {recorded.path} at rate {given['rate']}: it takes ROS 2 bags "
            "and rates above 0; leave player out, or give player:=sfm"
        )
    if given["player"] == "ros2bag" or (
        given["player"] == "auto" and able and is_installed("rosbag2_transport")
    ):
        return _ros2_bag(given, recorded)
    use_sim_time = is_ground_truth(given["use_sim_time"])
    return Node(
        package=PACKAGE,
        executable="sfm_bag_player",
        name="sfm_bag_player",
        output="screen",
        arguments=[
            str(recorded.path),
            *("--rate", given["rate"]),
            # The node's: image, camera_info and, on the bag's time, /clock.
            *("--wait-for-subscribers", "3" if use_sim_time else "2"),
            *(["--image-subscribers", "2"] if given["record"] else []),
            # Who is seen to listen may itself learn of the publisher a moment later.
            *("--start-delay", _MOMENT_S),
            *(["--clock"] if use_sim_time else []),
        ],
    )


def _ros2_bag(given: Mapping[str, str], recorded: Recorded) -> ExecuteProcess:
    """``ros2 bag play``, with the camera's topics reliable: the node asks for every frame."""
    overrides = {
        topic: {"reliability": "reliable", "history": "keep_last", "depth": 10}
        for topic in (recorded.transported, recorded.camera_info_topic)
    }
    with tempfile.NamedTemporaryFile(
        "w", prefix="sfm_qos_", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        yaml.safe_dump(overrides, file)
    return ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", str(recorded.path), "--rate", given["rate"]),
            *("--delay", given["start_delay"], "--disable-keyboard-controls"),
            *("--qos-profile-overrides-path", file.name),
            *(["--clock", "100"] if is_ground_truth(given["use_sim_time"]) else []),
        ],
        output="screen",
    )


def ground_truth(given: Mapping[str, str], recorded: Recorded) -> list[Any]:
    """Draws the ground-truth trajectory, where the recording has one."""
    if recorded.ground_truth is None:
        return []
    topic, kind = recorded.ground_truth
    return [
        Node(
            package=PACKAGE,
            executable="sfm_ground_truth_path",
            name="sfm_ground_truth",
            output="screen",
            arguments=["--type", kind],
            parameters=[{"use_sim_time": is_ground_truth(given["use_sim_time"])}],
            remappings=[("ground_truth", topic), ("odometry", f"{full_name(given)}/odometry")],
        )
    ]


def after_playback(given: Mapping[str, str], playing: Any) -> list[Any]:
    """What happens when the recording is over: scoring, the end, both or nothing."""
    end = [EmitEvent(event=Shutdown(reason="the recording is over"))]
    wanted = is_ground_truth(given["shutdown"])
    if not given["evaluate"]:
        # The node may still be at the last images.
        return _then(playing, [TimerAction(period=_LAST_IMAGES_S, actions=end)] * wanted)
    scoring = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "sfm_ros.cli.evaluate", "bag", given["bag"]),
            *("--out", given["evaluate"], "--model", given["model"]),
            *_named("--image-topic", given["image_topic"]),
            *_named("--camera-info-topic", given["camera_info_topic"]),
        ],
        output="screen",
    )
    return [*_then(playing, [scoring]), *_then(scoring, end * wanted)]


def _then(process: Any, actions: list[Any]) -> list[Any]:
    """Actions for when a process has ended."""
    if not actions:
        return []
    return [RegisterEventHandler(OnProcessExit(target_action=process, on_exit=actions))]


def _named(option: str, value: str) -> list[str]:
    return [option, value] if value else []
