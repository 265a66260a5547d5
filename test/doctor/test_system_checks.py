"""The doctor names each mistake in the graph, the nodes, the model and the environment."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from findings import only

from sfm_ros.bags.camera import camera_info_beside
from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Reason
from sfm_ros.doctor import model
from sfm_ros.doctor.broadcasters import BroadcastCounts, check_broadcasters
from sfm_ros.doctor.finding import Finding, Level, as_json, as_text
from sfm_ros.doctor.frames import check_tree
from sfm_ros.doctor.middleware import check_environment, largest_segment
from sfm_ros.doctor.model import check_engine, check_model
from sfm_ros.doctor.observed import Camera, Endpoint, NodeStatus, Stream
from sfm_ros.doctor.odometry_nodes import camera_topics, check_clock, check_status, running_nodes
from sfm_ros.doctor.qos import (
    check_latched,
    check_names,
    check_pairs,
    check_publishers,
    check_single_publisher,
    check_static,
)
from sfm_ros.engines.factory import DEFAULT_MODEL, MODELS
from sfm_ros.reasons import MEANING, advice_for

PACKAGE = Path(__file__).resolve().parents[2] / "sfm_ros"
PROFILE = PACKAGE / "ros" / "process" / "fastdds_large_images.xml"
VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"


# ---- quality of service and graph ---------------------------------------------------------------


def endpoint(node: str, is_publisher: bool, **changes: str) -> Endpoint:
    values = dict(reliability="reliable", durability="volatile", type_name="sensor_msgs/msg/Image")
    return Endpoint(node=node, topic="/t", is_publisher=is_publisher, **{**values, **changes})


def test_incompatible_pairs_name_both_nodes() -> None:
    driver = endpoint("/driver", True, reliability="best_effort")
    subscriber = endpoint("/subscriber", False)
    found = only(check_pairs([driver, subscriber], "/t"))
    assert found.level is Level.FAIL
    assert "/driver -> /subscriber never connect: the publisher is best effort" in found.found
    tf = endpoint("/tf_subscriber", False, durability="transient_local")
    assert "volatile" in only(check_pairs([endpoint("/d", True), tf], "/t")).found
    other = endpoint("/x", False, type_name="sensor_msgs/msg/CompressedImage")
    assert "2 types" in only(check_pairs([driver, other], "/t")).found
    fine = endpoint("/subscriber", False, reliability="best_effort")
    assert only(check_pairs([endpoint("/driver", True), fine], "/t")).level is Level.OK


def test_duplicates_and_volatile_static_transforms() -> None:
    pair = [endpoint("/a", True), endpoint("/b", True)]
    assert "2 of them: /a, /b" in only(check_single_publisher(pair, "/t")).found
    assert not list(check_single_publisher(pair[:1], "/t"))
    assert "/sfm_node" in only(check_names(["/sfm_node", "/x", "/sfm_node"])).found
    static = Endpoint(
        node="/a", topic="/tf_static", type_name="tf2_msgs/msg/TFMessage", is_publisher=True,
        reliability="reliable", durability="volatile",
    )  # fmt: skip
    assert only(check_static([static])).level is Level.FAIL


def test_a_calibration_that_is_published_once_names_both_overrides() -> None:
    driver = endpoint("/driver", True, durability="transient_local")
    pair = [driver, endpoint("/sfm_node", False), endpoint("/rviz", False)]
    found = only(check_latched(pair, "/t", ["/sfm_node"]))
    assert found.level is Level.WARN and "/driver publishes it transient local" in found.found
    for policy in ("durability: transient_local", "reliability: reliable"):
        assert f"qos_overrides./t.subscription.{policy}" in found.advice
    kept = endpoint("/sfm_node", False, durability="transient_local")
    assert not list(check_latched([driver, kept], "/t", ["/sfm_node"]))
    assert not list(check_latched([endpoint("/d", True), pair[1]], "/t", ["/sfm_node"]))


def counted(*numbers: int | None) -> BroadcastCounts:
    counts = BroadcastCounts()
    for number in numbers:
        counts.add("odom", "base_link", number)
    return counts


def test_two_broadcasters_of_one_transform_are_named() -> None:
    tf = [replace(endpoint(node, True), topic="/tf") for node in ("/wheels", "/sfm_node")]
    found = only(check_broadcasters([("odom", "base_link")], tf))
    assert found.level is Level.FAIL and "node.publish_tf" in found.advice
    assert "'odom' -> 'base_link'; on /tf publish /sfm_node, /wheels" in found.found
    assert ("odom", "base_link") in counted(100, 3, 101, 4, 102, 5).shared()
    # One broadcaster, one that was restarted, and a middleware that does not count.
    for numbers in ((1, 2, 3, 7), (500, 501, 1, 2), (None, None, None)):
        assert ("odom", "base_link") not in counted(*numbers).shared()


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("/cam/image_raw", "/cam/camera_info"),
        ("/cam/image_raw/compressed", "/cam/camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_calibration_topic_is_beside_the_images(topic: str, info: str) -> None:
    assert camera_info_beside(topic) == info


# ---- odometry nodes -----------------------------------------------------------------------------


NODE = [
    Endpoint(node="/a/sfm_node", topic="/a/sfm_node/odometry", type_name="nav_msgs/msg/Odometry",
             is_publisher=True, reliability="reliable", durability="volatile"),
    Endpoint(node="/a/sfm_node", topic="/a/sfm_node/depth/image", is_publisher=True,
             type_name="sensor_msgs/msg/Image", reliability="reliable", durability="volatile"),
    endpoint("/a/sfm_node", False),
]  # fmt: skip


def test_nodes_and_cameras_are_recognized() -> None:
    assert running_nodes(NODE) == ["/a/sfm_node"]
    assert running_nodes(NODE[:2]) == []
    assert camera_topics(NODE) == ["/t"]
    assert camera_topics(NODE[1:]) == ["/a/sfm_node/depth/image", "/t"]


def test_topic_without_publisher_names_the_other_cameras() -> None:
    other = Endpoint(
        node="/driver", topic="/left/image", type_name="sensor_msgs/msg/Image",
        is_publisher=True, reliability="reliable", durability="volatile",
    )  # fmt: skip
    seen = Camera(
        images=Stream(topic="/t", type_name="sensor_msgs/msg/Image"), info_topic="/camera_info"
    )
    found = only(check_publishers([*NODE, other], seen))
    assert found.level is Level.FAIL
    assert found.found == "it has no publisher; images are on /left/image"
    assert not list(check_publishers([endpoint("/driver", True)], seen))


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        (None, Level.WARN, "no diagnostics arrived"),
        (NodeStatus(level=0, message="tracking", values={}), Level.OK, "tracking"),
        (NodeStatus(level=1, message="degraded", values={"reasons": "gap"}), Level.WARN,
         MEANING[Reason.GAP][1]),
        (NodeStatus(level=2, message="lost", values={"last_trouble": "no disk"}), Level.FAIL,
         "lost; no disk"),
    ],
)  # fmt: skip
def test_status_of_a_node(status: NodeStatus | None, level: Level, text: str) -> None:
    found = check_status("/sfm_node", status)
    assert found.level is level and text in found.line()


@pytest.mark.parametrize(
    ("uses_sim_time", "has_clock", "levels"),
    [
        (None, True, []),
        (True, True, []),
        (False, False, []),
        (True, False, [Level.FAIL]),
        (False, True, [Level.WARN]),
    ],
)
def test_node_and_system_agree_on_time(
    uses_sim_time: bool | None, has_clock: bool, levels: list[Level]
) -> None:
    found = check_clock("/sfm_node", uses_sim_time, has_clock)
    assert [finding.level for finding in found] == levels


# ---- model and machine --------------------------------------------------------------------------


def test_shipped_model_runs() -> None:
    findings, spec = check_model(ModelConfig())
    assert only(findings).level is Level.OK and spec is not None
    found = check_engine(ModelConfig())[0]
    assert found.level is Level.OK and "onnxruntime" in found.found
    assert re.match(r"(openvino|onnx) (fp32|bf16), \d+ ms per image here", found.found)
    if "openvino 20" in found.found:  # else there is no choice
        assert "the fastest here" in found.found and "onnx fp32" in found.found


@pytest.mark.parametrize(
    ("machine", "installed", "is_named"),
    [
        ("x86_64", {"onnxruntime": "1.31"}, True),
        ("x86_64", {"onnxruntime": "1.31", "openvino": "2026.4"}, False),
        ("aarch64", {"onnxruntime": "1.31"}, False),
    ],
)
def test_openvino_is_advised_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, machine: str, installed: dict[str, str], is_named: bool
) -> None:
    monkeypatch.setattr(model.platform, "machine", lambda: machine)
    monkeypatch.setattr(model, "package_versions", lambda _: installed)
    found = {finding.check: finding for finding in check_engine(ModelConfig())}
    assert ("openvino" in found) == is_named
    assert not is_named or "pip install openvino" in found["openvino"].advice
    assert "openvino" not in {f.check for f in check_engine(ModelConfig(engine="onnx"))}


def test_unused_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "has_driver", lambda: False)
    engine = only(check_engine(ModelConfig()))
    assert engine.check == "engine" and "GPU" not in engine.found
    monkeypatch.setattr(model, "has_driver", lambda: True)
    engine = only(check_engine(ModelConfig()))
    assert engine.level is Level.OK and "NVIDIA GPU is present and not used" in engine.found
    assert "run on the CPU" in engine.found


def test_damaged_model(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shipped = MODELS / DEFAULT_MODEL
    bundle.mkdir()
    for file in shipped.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    (bundle / "pose.onnx").write_bytes(b"truncated")
    findings, spec = check_model(ModelConfig(bundle=str(bundle)))
    assert "damaged" in only(findings).found and spec is None
    assert only(check_model(ModelConfig(bundle="/nowhere"))[0]).level is Level.FAIL


def environment(largest: int = 1_400_000, **variables: str) -> dict[str, Finding]:
    shipped = {VARIABLE: str(PROFILE), "FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)}
    findings = check_environment("rmw_fastrtps_cpp", variables, largest, shipped)
    return {finding.check: finding for finding in findings}


def test_environment() -> None:
    assert environment()["shared memory"].level is Level.WARN
    assert f"export {VARIABLE}={PROFILE} " in environment()["shared memory"].advice
    assert environment(largest=100_000)["shared memory"].level is Level.OK
    shipped = environment(FASTRTPS_DEFAULT_PROFILES_FILE=str(PROFILE))["shared memory"]
    assert shipped.level is Level.OK and "32 MiB" in shipped.found
    lost = environment(FASTRTPS_DEFAULT_PROFILES_FILE="/nowhere.xml")["shared memory"]
    assert lost.level is Level.FAIL
    assert environment(ROS_DOMAIN_ID="150")["domain"].level is Level.WARN
    assert environment(ROS_DOMAIN_ID="x")["domain"].level is Level.FAIL
    assert environment(ROS_LOCALHOST_ONLY="1")["discovery"].level is Level.OK
    assert environment(ROS_AUTOMATIC_DISCOVERY_RANGE="OFF")["discovery"].level is Level.FAIL
    other = check_environment("rmw_cyclonedds_cpp", {}, 0, {VARIABLE: str(PROFILE)})
    assert "shared memory" not in {finding.check for finding in other}


def test_profile_without_a_segment(tmp_path: Path) -> None:
    (tmp_path / "p.xml").write_text("<dds><profiles/></dds>")
    assert largest_segment(tmp_path / "p.xml") == 0
    assert largest_segment(PROFILE) == 32 * 2**20


def test_every_reason_has_a_meaning_and_advice() -> None:
    assert set(MEANING) == set(Reason)
    assert advice_for("gap, flat_depth") == "; ".join(
        MEANING[reason][1] for reason in (Reason.GAP, Reason.FLAT_DEPTH)
    )


def test_json_and_text_agree() -> None:
    import json

    findings = check_tree([])
    report = json.loads(as_json("a bag", findings))
    assert report["subject"] == "a bag" and report["failed"] is False
    assert report["checks"][0]["level"] == "WARN"
    assert as_text(findings).splitlines()[-1] == "0 OK, 1 WARN, 0 FAIL"
