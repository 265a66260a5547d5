"""What follows a recording: the node finishes, what it published is scored, all programs end."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from launch.actions import EmitEvent, ExecuteProcess
from launch.events import matches_action
from launch.events.process import ShutdownProcess

from sfm_ros.config import iter_fields
from sfm_ros.ros.launching.arguments import given_path
from sfm_ros.ros.launching.node_parameters import configured, given_parameters, node_path, scope
from sfm_ros.ros.launching.playback import PlayableRecording, shared_topics
from sfm_ros.ros.launching.programs import node_topic, on_exit, shutdown_if_asked, tool

_KEPT_FRAMES = 40
"""Frames whose depth is kept for the report."""


def after_playback(
    given: Mapping[str, str], recording: PlayableRecording, playing: Any
) -> list[Any]:
    """What follows the recording, once the node has processed it: scoring, shutdown, or both.

    The score is that of what the node published, which a recorder receives, beside an offline
    run; the player waits for that recorder. A player that fails is not scored.
    """
    shutdown = shutdown_if_asked(given)
    if not shutdown and not given["evaluate"]:
        return []
    draining = tool("node_drain", "--node", node_path(given))
    if not given["evaluate"]:
        return [*on_exit(playing, [draining], shutdown), *on_exit(draining, shutdown, shutdown)]
    folder = Path(tempfile.mkdtemp(prefix="sfm_evaluation_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    receiving = _recorder(given, recording, folder / "run")
    scoring = _scoring(given, folder)
    stop = [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(receiving)))]
    return [
        receiving,
        *on_exit(playing, [draining], shutdown),
        *on_exit(draining, stop, shutdown),
        *on_exit(receiving, [scoring], shutdown),
        *on_exit(scoring, shutdown, shutdown),
    ]


def _recorder(
    given: Mapping[str, str], recording: PlayableRecording, folder: Path
) -> ExecuteProcess:
    """Receives what the node publishes, and when."""
    remappings = [
        ("image", f"{scope(given)}{recording.transport_topic}"),
        ("odometry", node_topic(given, "odometry")),
        ("depth", node_topic(given, "depth/image")),
        ("depth/camera_info", node_topic(given, "depth/camera_info")),
        ("depth/uncertainty", node_topic(given, "depth/uncertainty")),
        *([("__ns", scope(given))] if scope(given) else []),
        *shared_topics(given),
    ]
    return tool(
        "run_recorder",
        *("--out", str(folder), "--keep-every", str(max(recording.frames // _KEPT_FRAMES, 1))),
        *(["--compressed"] if recording.compressed else []),
        "--ros-args",
        *(word for old, new in remappings for word in ("-r", f"{old}:={new}")),
    )


def _scoring(given: Mapping[str, str], folder: Path) -> ExecuteProcess:
    """Scores what was received, with the node's own parameters for the offline run."""
    config = folder / "config.yaml"
    names = {name for name, _, _ in iter_fields()}
    blocks: dict[str, dict[str, Any]] = {}
    for name, value in {**configured(given), **given_parameters(given)}.items():
        if name in names:
            block, _, key = name.partition(".")
            blocks.setdefault(block, {})[key] = value
    config.write_text(yaml.safe_dump(blocks), encoding="utf-8")
    return ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "sfm_ros.cli.evaluate", "bag", given_path(given, "bag")),
            *("--out", given_path(given, "evaluate"), "--config", str(config)),
            *("--recording", str(folder / "run"), "--rate", given["rate"]),
            *_option("--image-topic", given["image_topic"]),
            *_option("--camera-info-topic", given["camera_info_topic"]),
        ],
        output="screen",
    )


def _option(name: str, value: str) -> list[str]:
    return [name, value] if value else []
