"""Examine a running system or a bag, and say what to change before the odometry can work.

    sfm_doctor                     the running system: looks and listens for a few seconds
    sfm_doctor --bag drive.mcap    a bag, before it is played

One line a check: OK, WARN (it works, but not as it should) or FAIL (it does not work), what was
found, and what to change. The exit code is 1 where a check failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfm_ros.config import SfmConfig, config_from_dict, config_to_dict, load_config
from sfm_ros.doctor.bag import check_content, count_messages, read_bag
from sfm_ros.doctor.examine import examine_camera
from sfm_ros.doctor.finding import Finding, Level, as_json, as_text, fail, has_failed, ok, warn
from sfm_ros.doctor.frames import check_tree
from sfm_ros.doctor.middleware import check_domain, check_environment
from sfm_ros.doctor.model import check_engine, check_model
from sfm_ros.doctor.observed import CAMERA_INFO_TYPE, IMAGE_TYPES, Camera, Endpoint
from sfm_ros.doctor.qos import check_image_publishers, check_names, check_pairs, check_static
from sfm_ros.errors import ConfigError, SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.reasons import advice_for
from sfm_ros.ros.process.dds_profile import PROFILE

if TYPE_CHECKING:
    from rclpy.node import Node

    from sfm_ros.ros.doctor.live import SystemWatch

_ASKED = ("model.bundle", "model.engine", "node.base_frame", "window.max_gap_s", "use_sim_time")
_LEVEL_OK, _LEVEL_WARN = 0, 1


def main(args: list[str] | None = None) -> int:
    """Run the checks; 0 where none failed, 1 where one did, 130 when it was interrupted."""
    arguments = sys.argv if args is None else ["sfm_doctor", *args]
    own, ros = _split(arguments[1:])
    options = _parse(own)
    try:
        config = _configuration(options)
        examine = _examine_bag if options.bag is not None else _examine_system
        findings = examine(options, config, ros)
    except SfmRosError as error:
        findings = [fail("input", str(error), "name another one")]
    except KeyboardInterrupt:
        return 130
    subject = str(options.bag) if options.bag is not None else "the running system"
    print(as_json(subject, findings) if options.json else as_text(findings))
    return int(has_failed(findings))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--ros-args") if "--ros-args" in arguments else len(arguments)
    return arguments[:at], arguments[at:]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sfm_doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bag", type=Path, help="examine this bag instead of the system")
    add = parser.add_argument
    add("--image-topic", metavar="TOPIC", type=_name, help="this camera; default: all")
    add("--camera-info-topic", metavar="TOPIC", type=_name, help="default: beside the images")
    add("--node", metavar="NAME", type=_name, help="this odometry node, such as /sfm_node")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="how long to listen (default: %(default)s)"
    )
    parser.add_argument("--config", type=Path, help="YAML as config/sfm.yaml")
    parser.add_argument("--model", help="model bundle: its folder or its name")
    parser.add_argument("--no-engine", action="store_true", help="do not load the networks")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _configuration(options: argparse.Namespace) -> SfmConfig:
    config = SfmConfig() if options.config is None else load_config(options.config)
    if options.model is not None:
        config = replace(config, model=replace(config.model, bundle=options.model))
    return config


def _model(
    options: argparse.Namespace, config: SfmConfig
) -> tuple[list[Finding], ModelSpec | None]:
    findings, spec = check_model(config.model)
    if spec is not None and not options.no_engine:
        findings += check_engine(config.model)
    return findings, spec


# ---- a bag ------------------------------------------------------------------------------------


def _examine_bag(options: argparse.Namespace, config: SfmConfig, _: list[str]) -> list[Finding]:
    from tqdm import tqdm

    total = count_messages(options.bag, options.image_topic)
    with tqdm(total=total, desc="reading", unit="message", disable=None, leave=False) as bar:
        content = read_bag(options.bag, options.image_topic, lambda: bar.update())
    model_findings, spec = _model(options, config)
    findings = [*check_content(content), *check_static(content.endpoints)]
    for camera in content.cameras:
        findings += examine_camera(camera, content.edges, config, spec, "the time of recording")
    if content.cameras:
        findings += check_tree(content.edges)
    return [*findings, *model_findings]


# ---- the running system -----------------------------------------------------------------------


def _examine_system(
    options: argparse.Namespace, config: SfmConfig, ros_arguments: list[str]
) -> list[Finding]:
    try:
        import rclpy
        from rclpy.utilities import get_rmw_implementation_identifier

        from sfm_ros.ros.doctor import live as doctor_live
    except ImportError as error:
        advice = "source ROS 2, or install requirements/ros-jazzy.txt; a bag needs neither: --bag"
        return [fail("ros", f"rclpy cannot be imported: {error}", advice)]
    domain = check_domain(os.environ)
    if domain.level is Level.FAIL:  # the middleware would end this process
        return [domain]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = _make_node(ros_arguments)
    try:
        watch = doctor_live.SystemWatch(node)
        options = _with_full_names(options, node)
        watch.discover()
        return _examine_graph(options, config, watch, get_rmw_implementation_identifier())
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _make_node(ros_arguments: list[str]) -> Node:
    import rclpy

    try:
        rclpy.init(args=["sfm_doctor", *ros_arguments])
        return rclpy.create_node("sfm_doctor")
    except Exception as error:  # rclpy has no type in common for what it does not like
        rclpy.try_shutdown()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SfmRosError(f"ROS does not start with {ros_arguments}: {reason}") from error


def _with_full_names(options: argparse.Namespace, node: Node) -> argparse.Namespace:
    """The options with names as ROS makes them of short ones, for they are compared."""
    full = {}
    for key, is_topic in (("image_topic", True), ("camera_info_topic", True), ("node", False)):
        name = getattr(options, key)
        if name is None:
            continue
        try:
            full[key] = node.resolve_topic_name(name, only_expand=not is_topic)
        except RuntimeError as error:
            reason = str(error).removeprefix("failed to resolve name: ").partition(", at ")[0]
            raise SfmRosError(f"'{name}' is no name in ROS: {reason}") from error
    return argparse.Namespace(**{**vars(options), **full})


def _examine_graph(
    options: argparse.Namespace, config: SfmConfig, watch: SystemWatch, rmw: str
) -> list[Finding]:
    running = _listen(options, watch)
    idle = {
        name: is_configured
        for name, is_configured in watch.idle_nodes().items()
        if options.node in (None, name)
    }
    present = [*running, *idle]
    asked = watch.parameters(present[0], list(_ASKED)) if present else {}
    if options.config is None and options.model is None:
        config = _as_the_node_has_it(config, asked)
    endpoints = watch.endpoints()
    model_findings, spec = _model(options, config)
    edges = list(watch.edges.values())
    clock = "the system's clock" if watch.clock_ns is None else "/clock"
    findings = [*check_names(watch.nodes()), *_the_nodes(options, watch, running, idle)]
    if present:
        findings += _time(present[0], watch, asked)
    for camera in watch.cameras.values():
        findings += _publishing(endpoints, camera)
        findings += examine_camera(camera, edges, config, spec, clock)
    findings += check_pairs(endpoints, _interesting(endpoints, watch, present))
    findings += [*check_static(endpoints), *check_tree(edges), *model_findings]
    largest = max((c.images.payload for c in watch.cameras.values()), default=0)
    return [*findings, *check_environment(rmw, os.environ, largest, PROFILE)]


def _listen(options: argparse.Namespace, watch: SystemWatch) -> list[str]:
    """Hear the cameras, and say which odometry nodes run.

    On a busy machine a node may be found only meanwhile: then its cameras are heard as long.
    """
    running = _listen_to_cameras(options, watch)
    if set(_running(options, watch.endpoints())) <= set(running):
        return running
    return _listen_to_cameras(options, watch)


def _listen_to_cameras(options: argparse.Namespace, watch: SystemWatch) -> list[str]:
    endpoints = watch.endpoints()
    running = _running(options, endpoints)
    watch.listen(*_cameras_to_watch(options, endpoints, running), options.seconds)
    return running


def _running(options: argparse.Namespace, endpoints: list[Endpoint]) -> list[str]:
    from sfm_ros.ros.doctor.live import running_nodes

    return [name for name in running_nodes(endpoints) if options.node in (None, name)]


def _as_the_node_has_it(config: SfmConfig, asked: dict[str, Any]) -> SfmConfig:
    values = config_to_dict(config)
    for name, value in asked.items():
        block, _, key = name.partition(".")
        if key:
            values[block][key] = value
    try:
        return config_from_dict(values)
    except ConfigError:
        return config  # a node of another version


def _cameras_to_watch(
    options: argparse.Namespace, endpoints: list[Endpoint], running: list[str]
) -> tuple[list[str], str | None]:
    """Topics of images, and the one of calibrations where it is not simply beside them."""
    from sfm_ros.ros.doctor.live import camera_topics

    if options.image_topic is not None:
        return [options.image_topic], options.camera_info_topic
    received = [e for e in endpoints if e.node in running and not e.is_publisher]
    images = sorted({e.topic for e in received if e.type_name in IMAGE_TYPES})
    infos = sorted({e.topic for e in received if e.type_name == CAMERA_INFO_TYPE})
    if len(images) == 1 and len(infos) == 1:
        return images, options.camera_info_topic or infos[0]
    return images or camera_topics(endpoints), options.camera_info_topic


def _publishing(endpoints: list[Endpoint], camera: Camera) -> list[Finding]:
    from sfm_ros.ros.doctor.live import camera_topics

    findings = [
        *check_image_publishers(endpoints, camera.images.topic),
        *check_image_publishers(endpoints, camera.info_topic),
    ]
    senders = [e for e in endpoints if e.is_publisher and e.topic == camera.images.topic]
    if not senders:
        others = camera_topics([e for e in endpoints if e.is_publisher])
        findings.append(
            fail(
                f"publishers {camera.images.topic}",
                f"nobody publishes it; images are on {', '.join(others) or 'no topic'}",
                "start the camera's driver, or remap image (image_topic:= in the launch files)",
            )
        )
    return findings


def _interesting(endpoints: list[Endpoint], watch: SystemWatch, nodes: list[str]) -> list[str]:
    """Topics whose pairs matter: what the nodes hear and say, cameras, transforms."""
    topics = {e.topic for e in endpoints if e.node in nodes}
    for camera in watch.cameras.values():
        topics |= {camera.images.topic, camera.info_topic}
    shared = ("/rosout", "/parameter_events", "/clock", "/diagnostics")
    return sorted((topics | {"/tf", "/tf_static"}) - set(shared))


def _the_nodes(
    options: argparse.Namespace, watch: SystemWatch, running: list[str], idle: dict[str, bool]
) -> list[Finding]:
    if not running and not idle:
        named = options.node or "an odometry node of this package"
        return [warn("node", f"{named} is not running", "ros2 launch sfm_ros camera.launch.py")]
    return [
        *(_at_work(name, watch) for name in running),
        *(_idle(name, is_configured) for name, is_configured in idle.items()),
    ]


def _at_work(name: str, watch: SystemWatch) -> Finding:
    check = f"node {name}"
    status = watch.status.get(name) or watch.status.get(name.rpartition("/")[2])
    if status is None:
        return warn(check, "no diagnostics came", "is it paused or very busy?")
    values = {entry.key: entry.value for entry in status.values}
    level = int.from_bytes(status.level, "little")
    if level == _LEVEL_OK:
        return ok(check, status.message)
    trouble = values.get("last_trouble", "")
    text = status.message + (f"; {trouble}" if trouble else "")
    make = warn if level == _LEVEL_WARN else fail
    return make(check, text, advice_for(values.get("reasons", "")))


def _idle(name: str, is_configured: bool) -> Finding:
    command = f"ros2 lifecycle set {name}"
    if is_configured:
        return warn(f"node {name}", "a managed node that is not active", f"{command} activate")
    return warn(
        f"node {name}",
        "a managed node that is not configured",
        f"{command} configure, then {command} activate",
    )


def _time(name: str, watch: SystemWatch, asked: dict[str, Any]) -> list[Finding]:
    """Whether the node and the system agree on where time comes from."""
    uses = asked.get("use_sim_time")
    if uses is None or uses == (watch.clock_ns is not None):
        return []
    if uses:
        return [
            fail(
                f"time {name}",
                "use_sim_time is set, but nobody publishes /clock",
                "play the bag with --clock, or set use_sim_time to false",
            )
        ]
    return [
        warn(
            f"time {name}",
            "somebody publishes /clock, but the node takes the system's time",
            "set use_sim_time to true on every node",
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
