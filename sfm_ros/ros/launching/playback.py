"""What ``kitti_bag.launch.py`` reads from a recording, and the programs that play and score it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from launch.actions import ExecuteProcess

from sfm_ros.bags.camera import inspect_bag
from sfm_ros.bags.pose_messages import POSE_TYPES
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import TF_TYPES
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.engines.factory import DEFAULT_MODEL, bundle_for
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.runs.recording import RECORDER_NAME
from sfm_ros.ros.launching.arguments import check_number, given_path, is_true, refused
from sfm_ros.ros.launching.node_parameters import effective, node_path, scope
from sfm_ros.ros.launching.programs import (
    is_installed,
    node_topic,
    on_exit,
    program,
    recorder_path,
    shutdown_if_asked,
    tool,
)
from sfm_ros.sources.kitti.source import image_folder, is_kitti

_START_S = "120"
"""The longest time in which the node starts: it may load a large model from a slow disk."""
_SHARED = ("/tf", "/tf_static", "/clock")
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
        frames: number of images.
        is_kitti: it is the folder of a KITTI drive or sequence.
    """

    path: Path
    image_topic: str
    camera_info_topic: str
    compressed: bool = False
    optical_frame: str = OPTICAL_FRAME
    has_static_transforms: bool = False
    ground_truth: tuple[str, str] | None = None
    is_ros2: bool = False
    frames: int = 0
    is_kitti: bool = False

    @property
    def transport_topic(self) -> str:
        """Topic of the images with the transport's suffix."""
        return f"{self.image_topic}/compressed" if self.compressed else self.image_topic

    @property
    def topics(self) -> list[str]:
        """Topics of the images, their calibration and the ground truth."""
        poses = [] if self.ground_truth is None else [self.ground_truth[0]]
        return [self.transport_topic, self.camera_info_topic, *poses]


@dataclass(frozen=True, kw_only=True)
class Playback:
    """Actions that play a recording, and the process among them or after them that plays it."""

    actions: list[Any]
    process: Any


def describe_recording(given: Mapping[str, str]) -> PlayableRecording:
    """Inspect the recording to play.

    Raises:
        SfmRosError: it cannot be read, or has no camera, or several and none was chosen.
    """
    path = Path(given_path(given, "bag"))
    try:
        return _kitti(path) if path.is_dir() and is_kitti(path) else _bag(path, given)
    except SfmRosError as error:
        raise refused("bag", given["bag"], str(error)) from error


def model_for(given: Mapping[str, str], recording: PlayableRecording) -> dict[str, str]:
    """The parameter of the model, if the recording decides it and the user does not."""
    named = effective(given, "model.bundle")
    bundle = bundle_for(named, recording.is_kitti)
    if bundle == named:
        return {}
    print(f"a KITTI drive: model {bundle}; model:={DEFAULT_MODEL} takes the other one")
    return {"model.bundle": bundle}


def _kitti(path: Path) -> PlayableRecording:
    return PlayableRecording(
        path=path,
        image_topic=IMAGE_TOPIC,
        camera_info_topic=CAMERA_INFO_TOPIC,
        has_static_transforms=True,
        ground_truth=(GROUND_TRUTH_TOPIC, _ODOMETRY),
        frames=sum(1 for _ in image_folder(path).iterdir()),
        is_kitti=True,
    )


def _bag(path: Path, given: Mapping[str, str]) -> PlayableRecording:
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
    return replace(
        recording,
        optical_frame=frame or OPTICAL_FRAME,
        frames=bag.topics[recording.transport_topic][1],
    )


def shared_topics(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Remappings that put the topics of all programs of a launch into its namespace.

    Two launches of two namespaces then share no topic, and no clock.
    """
    prefix = scope(given)
    return [(topic, f"{prefix}{topic}") for topic in _SHARED] if prefix else []


def player(given: Mapping[str, str], recording: PlayableRecording) -> Playback:
    """The actions that play: ``ros2 bag play``, or the package's own player.

    Both wait for the node by its name: whatever else subscribes does not let the recording begin.

    Raises:
        SfmRosError: a number is none, or ros2bag was requested and cannot play this recording.
    """
    rate, delay_s = check_number(given, "rate"), check_number(given, "start_delay")
    able = recording.is_ros2 and rate > 0 and not scope(given)
    if given["player"] == "ros2bag" and not able:
        raise refused(
            "player",
            "ros2bag",
            f"ros2 bag plays ROS 2 bags at rates above 0 without a namespace, not "
            f"{recording.path} at rate {given['rate']}; omit player, or give player:=sfm",
        )
    if given["player"] == "ros2bag" or (
        given["player"] == "auto" and able and is_installed("ros2bag")
    ):
        return _ros2_bag(given, recording)
    use_sim_time = is_true(given["use_sim_time"])
    image = f"{scope(given)}{recording.transport_topic}"
    # ros2 bag record subscribes once there is a publisher, which this player already is.
    recorded = ["--wait-for", recorder_path(given), image] if given["record"] else []
    playing = program(
        "sfm_bag_player",
        namespace=given["namespace"],
        arguments=[
            str(recording.path),
            *("--rate", given["rate"]),
            *_wait_options(given, recording),
            *recorded,
            *("--start-delay", str(delay_s)),
            *(["--prefix", scope(given)] if scope(given) else []),
            *(["--clock"] if use_sim_time else []),
        ],
    )
    return Playback(actions=[playing], process=playing)


def _wait_options(given: Mapping[str, str], recording: PlayableRecording) -> list[str]:
    """Begin when the node subscribes, and who receives what is scored.

    A node that the user has to activate is waited for for ever.
    """
    topics = [recording.transport_topic, recording.camera_info_topic]
    pairs = [["--wait-for", node_path(given), f"{scope(given)}{topic}"] for topic in topics]
    if given["evaluate"]:
        image = f"{scope(given)}{recording.transport_topic}"
        pairs.append(["--wait-for", f"{scope(given)}/{RECORDER_NAME}", image])
    timeout_s = "inf" if given["lifecycle"] == "manual" else _START_S
    return [*(word for pair in pairs for word in pair), "--wait-timeout", timeout_s]


def _ros2_bag(given: Mapping[str, str], recording: PlayableRecording) -> Playback:
    """``ros2 bag play``, with the camera's topics reliable: the node requests every frame."""
    overrides = {
        topic: {"reliability": "reliable", "history": "keep_last", "depth": 10}
        for topic in (recording.transport_topic, recording.camera_info_topic)
    }
    with tempfile.NamedTemporaryFile(
        "w", prefix="sfm_qos_", suffix=".yaml", delete=False, encoding="utf-8"
    ) as file:
        yaml.safe_dump(overrides, file)
    playing = ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", str(recording.path), "--rate", given["rate"]),
            *("--delay", given["start_delay"], "--disable-keyboard-controls"),
            *("--qos-profile-overrides-path", file.name),
            *(["--clock", "100"] if is_true(given["use_sim_time"]) else []),
        ],
        output="screen",
    )
    waiting = tool("subscription_wait", *_wait_options(given, recording))
    then = on_exit(waiting, [playing], shutdown_if_asked(given))
    return Playback(actions=[waiting, *then], process=playing)


def ground_truth_path(given: Mapping[str, str], recording: PlayableRecording) -> list[Any]:
    """Publishes the ground-truth trajectory as a path, if the recording has one."""
    if recording.ground_truth is None:
        return []
    topic, kind = recording.ground_truth
    return [
        program(
            "sfm_ground_truth_path",
            name="sfm_ground_truth",
            namespace=given["namespace"],
            arguments=["--type", kind],
            parameters=[{"use_sim_time": is_true(given["use_sim_time"])}],
            remappings=[
                ("ground_truth", f"{scope(given)}{topic}"),
                ("odometry", node_topic(given, "odometry")),
                *shared_topics(given),
            ],
        )
    ]
