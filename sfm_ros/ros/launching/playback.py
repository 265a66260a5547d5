"""What ``kitti_bag.launch.py`` reads from a recording, and the programs that play and score it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown

from sfm_ros.bags.camera import inspect_bag
from sfm_ros.bags.pose_messages import POSE_TYPES
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import TF_TYPES
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.ros.launching.arguments import is_true
from sfm_ros.ros.launching.programs import is_installed, node_topic, program
from sfm_ros.sources.kitti.source import is_kitti

_LAST_IMAGES_S = 5.0
_DISCOVERY_S = "1.0"
_ODOMETRY = "nav_msgs/msg/Odometry"


@dataclass(frozen=True, kw_only=True)
class PlayableRecording:
    """A bag or KITTI drive to play.

    Attributes:
        path: file or folder.
        image_topic: without the transport's suffix.
        camera_info_topic: of the same camera.
        compressed: the images are on ``image_topic/compressed``.
        optical_frame: frame id of the images.
        has_static_transforms: it contains /tf_static.
        ground_truth: (topic, type) of ground-truth poses, or None.
        is_ros2: ros2 bag can play it.
    """

    path: Path
    image_topic: str
    camera_info_topic: str
    compressed: bool = False
    optical_frame: str = OPTICAL_FRAME
    has_static_transforms: bool = False
    ground_truth: tuple[str, str] | None = None
    is_ros2: bool = False

    @property
    def transport_topic(self) -> str:
        """Topic of the images with the transport's suffix."""
        return f"{self.image_topic}/compressed" if self.compressed else self.image_topic

    @property
    def topics(self) -> list[str]:
        """Topics of the images, their calibration and the ground truth."""
        poses = [] if self.ground_truth is None else [self.ground_truth[0]]
        return [self.transport_topic, self.camera_info_topic, *poses]


def describe_recording(given: Mapping[str, str]) -> PlayableRecording:
    """Inspect the recording to play.

    Raises:
        SfmRosError: it cannot be read, or has no camera, or several and none was chosen.
    """
    path = Path(given["bag"]).expanduser()
    if path.is_dir() and is_kitti(path):
        return PlayableRecording(
            path=path,
            image_topic=IMAGE_TOPIC,
            camera_info_topic=CAMERA_INFO_TOPIC,
            has_static_transforms=True,
            ground_truth=(GROUND_TRUTH_TOPIC, _ODOMETRY),
        )
    bag = BagFile(path)
    found = inspect_bag(bag, given["image_topic"] or None, given["camera_info_topic"] or None)
    types = {topic: kind for topic, (kind, _) in sorted(bag.topics.items())}
    poses = [(topic, kind) for topic, kind in types.items() if kind in POSE_TYPES]
    recording = PlayableRecording(
        path=path,
        image_topic=found.image_topic,
        camera_info_topic=found.camera_info_topic,
        compressed=found.compressed,
        has_static_transforms=any(
            kind in TF_TYPES and topic.endswith("tf_static") for topic, kind in types.items()
        ),
        ground_truth=poses[0] if len(poses) == 1 else None,
        is_ros2=not bag.is_ros1,
    )
    frame = bag.first(recording.transport_topic).message.header.frame_id
    return replace(recording, optical_frame=frame or OPTICAL_FRAME)


def player(given: Mapping[str, str], recording: PlayableRecording) -> Any:
    """The action that plays: ``ros2 bag play``, or the package's own player.

    Raises:
        ValueError: ros2bag was requested and cannot play this recording.
    """
    able = recording.is_ros2 and float(given["rate"]) > 0
    if given["player"] == "ros2bag" and not able:
        raise ValueError(
            f"ros2 bag cannot play {recording.path} at rate {given['rate']}: it plays ROS 2 bags "
            "at rates above 0; omit player, or give player:=sfm"
        )
    if given["player"] == "ros2bag" or (
        given["player"] == "auto" and able and is_installed("ros2bag")
    ):
        return _ros2_bag(given, recording)
    use_sim_time = is_true(given["use_sim_time"])
    return program(
        "sfm_bag_player",
        arguments=[
            str(recording.path),
            *("--rate", given["rate"]),
            # The node's: image, camera_info and, on the bag's time, /clock.
            *("--wait-for-subscribers", "3" if use_sim_time else "2"),
            *(["--image-subscribers", "2"] if given["record"] else []),
            # A subscriber that the player has discovered may discover the publisher a bit later.
            *("--start-delay", _DISCOVERY_S),
            *(["--clock"] if use_sim_time else []),
        ],
    )


def _ros2_bag(given: Mapping[str, str], recording: PlayableRecording) -> ExecuteProcess:
    """``ros2 bag play``, with the camera's topics reliable: the node requests every frame."""
    overrides = {
        topic: {"reliability": "reliable", "history": "keep_last", "depth": 10}
        for topic in (recording.transport_topic, recording.camera_info_topic)
    }
    with tempfile.NamedTemporaryFile(
        "w", prefix="sfm_qos_", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        yaml.safe_dump(overrides, file)
    return ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", str(recording.path), "--rate", given["rate"]),
            *("--delay", given["start_delay"], "--disable-keyboard-controls"),
            *("--qos-profile-overrides-path", file.name),
            *(["--clock", "100"] if is_true(given["use_sim_time"]) else []),
        ],
        output="screen",
    )


def ground_truth_path(given: Mapping[str, str], recording: PlayableRecording) -> list[Any]:
    """Publishes the ground-truth trajectory as a path, if the recording has one."""
    if recording.ground_truth is None:
        return []
    topic, kind = recording.ground_truth
    return [
        program(
            "sfm_ground_truth_path",
            name="sfm_ground_truth",
            arguments=["--type", kind],
            parameters=[{"use_sim_time": is_true(given["use_sim_time"])}],
            remappings=[("ground_truth", topic), ("odometry", node_topic(given, "odometry"))],
        )
    ]


def after_playback(given: Mapping[str, str], playing: Any) -> list[Any]:
    """What follows the recording: scoring, shutdown, both or nothing."""
    end = [EmitEvent(event=Shutdown(reason="the recording is over"))]
    shutdown = end if is_true(given["shutdown"]) else []
    if not given["evaluate"]:
        # The node may still process the last images.
        delayed = [TimerAction(period=_LAST_IMAGES_S, actions=end)] if shutdown else []
        return _on_exit(playing, delayed)
    scoring = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "sfm_ros.cli.evaluate", "bag", given["bag"]),
            *("--out", given["evaluate"], "--model", given["model"]),
            *("--engine", given["engine"], "--precision", given["precision"]),
            *_option("--image-topic", given["image_topic"]),
            *_option("--camera-info-topic", given["camera_info_topic"]),
        ],
        output="screen",
    )
    return [*_on_exit(playing, [scoring]), *_on_exit(scoring, shutdown)]


def _on_exit(process: Any, actions: list[Any]) -> list[Any]:
    """Actions for the exit of a process."""
    if not actions:
        return []
    return [RegisterEventHandler(OnProcessExit(target_action=process, on_exit=actions))]


def _option(name: str, value: str) -> list[str]:
    return [name, value] if value else []
