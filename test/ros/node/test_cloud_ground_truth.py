"""The cloud of ~/depth and its camera_info is the room that the camera stands in.

Each image tells of each pixel which pixel of the camera's sensor it is. So the test knows what
every point of the cloud was seen by, and asks two things of it, by optics of its own: the point
lies where that pixel's ray meets the room, and projected through the lens it lands on that pixel.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from rig.probe import Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.camera import FRAME, PERIOD_NS
from rig.fault_rig import message_of
from rig.room import Numbers, Optics, cloud_of_depth, room_depth
from rig.room_node import CAMERAS, GRID, RoomEngine
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sfm_ros.config import PreprocessConfig, SfmConfig
from sfm_ros.datatypes import OdometryEstimate
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.publishers import Outputs

MOST_ERROR, MOST_PX, MOST_BIAS_PX = 0.002, 0.5, 0.1
"""Of a point's distance, a fifth of the 1 % that is promised; and pixels of the sensor, of any
point and in the mean of all."""
LEAST_SHOWN = 0.75
"""Share of the grid that shows the image; beyond the corners of a bent one it is black."""
ROOM_NODE = [sys.executable, "-m", "rig.room_node"]
IN_ORDER = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
OUTPUTS = {"depth/image": Image, "depth/camera_info": CameraInfo, "points": PointCloud2}


class Kept:
    """A publisher that somebody listens to, and what it published last."""

    def __init__(self) -> None:
        self.last: Any = None

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: Any) -> None:
        self.last = message


class Desk:
    """A node's place without a middleware."""

    def __init__(self) -> None:
        self.topics: dict[str, Kept] = {}

    def create_publisher(self, _: type, topic: str, __: Any) -> Kept:
        return self.topics.setdefault(topic, Kept())


class Seen(NamedTuple):
    """What came of images: messages, and which sensor pixel each pixel of the depth shows."""

    depth: Image
    info: CameraInfo
    points: PointCloud2
    places: Numbers
    shown: Numbers


def images(camera: Optics) -> list[Image]:
    """As many as fill the window, showing x and y by turns."""
    return [message_of(camera.image(i % 2), (i + 1) * PERIOD_NS) for i in range(3)]


def see(camera: Optics, info: CameraInfo) -> Seen:
    """The way of an image through the node, without the middleware.

    Args:
        camera: the one that took the images.
        info: what the node is told of it.
    """
    input = "rectified" if camera.is_rectified else "auto"
    config = SfmConfig(preprocess=PreprocessConfig(input=input))
    desk, engine, calibration = Desk(), RoomEngine(camera), CalibrationCache()
    outputs = Outputs(desk, config)  # type: ignore[arg-type]
    odometry = VisualOdometry(engine, config)
    calibration.take(info)
    for message in images(camera):
        intrinsics = calibration.wait(0)
        assert intrinsics is not None
        estimate = odometry.step(conversions.frame_from_image(message, intrinsics))
        outputs.publish(estimate, extrinsics_of(estimate))
    depth, told, points = (desk.topics[f"~/{name}"].last for name in OUTPUTS)
    return Seen(depth, told, points, engine.places, engine.shown)


def extrinsics_of(estimate: OdometryEstimate) -> Extrinsics:
    return Extrinsics(
        child="body",
        optical_frame=estimate.frame_id,
        T_body_camera=conversions.T_BODY_OPTICAL,
        is_known=False,
    )


class Errors(NamedTuple):
    """How far a cloud is from the room: share of the distance, and pixels of the sensor."""

    off: float
    px: float
    bias_px: float

    @property
    def is_ground_truth(self) -> bool:
        return self.off < MOST_ERROR and self.px < MOST_PX and self.bias_px < MOST_BIAS_PX


def errors_of(camera: Optics, seen: Seen, cloud: Numbers) -> Errors:
    """The greatest of all points, and where their images lie in the mean."""
    assert seen.shown.mean() > LEAST_SHOWN
    points, places = cloud[seen.shown], seen.places[seen.shown]
    rays = camera.rays(places)
    ground_truth = rays * room_depth(rays)[:, None]
    off = np.linalg.norm(points - ground_truth, axis=1) / np.linalg.norm(ground_truth, axis=1)
    off_px = camera.project(points) - places
    return Errors(
        off=float(off.max()),
        px=float(np.linalg.norm(off_px, axis=1).max()),
        bias_px=float(np.linalg.norm(off_px.mean(axis=0))),
    )


def points_of(message: PointCloud2) -> Numbers:
    """(h, w, 3) of an organized cloud of x, y, z."""
    assert [field.name for field in message.fields] == ["x", "y", "z"]
    shape = (message.height, message.width, 3)
    return np.frombuffer(message.data, np.float32).reshape(shape).astype(np.float64)


@pytest.mark.parametrize("kind", CAMERAS)
def test_every_point_lies_where_its_pixel_looks(kind: str) -> None:
    camera = CAMERAS[kind]
    seen = see(camera, camera.info())
    cloud = cloud_of_depth(seen.depth, seen.info)
    assert cloud.shape == (GRID[1], GRID[0], 3)
    errors = errors_of(camera, seen, cloud)
    assert errors.is_ground_truth, errors
    assert points_of(seen.points) == pytest.approx(cloud, rel=1e-5, abs=1e-5)
    assert seen.points.header == seen.depth.header == seen.info.header
    assert seen.info.header.frame_id == FRAME


RAW = CAMERAS["plumb_bob, turned"]
PART = CAMERAS["region of interest and binning"]
LIES: dict[str, tuple[Optics, Optics]] = {
    "cx": (RAW, replace(RAW, K=(420.0, 424.0, 332.0, 229.0))),
    "cy": (RAW, replace(RAW, K=(420.0, 424.0, 331.0, 230.0))),
    "focal length": (RAW, replace(RAW, K=(424.2, 428.2, 331.0, 229.0))),
    "no distortion": (RAW, replace(RAW, D=(0.0,) * 5)),
    "another lens": (RAW, replace(RAW, model="equidistant", D=RAW.D[:4])),
    "not turned": (RAW, replace(RAW, R=np.eye(3))),
    "turned the other way": (RAW, replace(RAW, R=RAW.R.T)),
    "region a pixel off": (PART, replace(PART, region=(211, 130, 800, 600))),
    "region left out": (PART, replace(PART, region=(0, 0, 800, 600))),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_calibration_that_is_a_little_wrong_is_noticed(lie: str) -> None:
    """Else the test above would show nothing: here the node is told of another camera."""
    camera, told = LIES[lie]
    seen = see(camera, told.info())
    assert not errors_of(camera, seen, cloud_of_depth(seen.depth, seen.info)).is_ground_truth


SLIPS: dict[str, Callable[[CameraInfo], None]] = {
    "cx a pixel off": lambda info: info.p.__setitem__(2, info.p[2] + 1),
    "cy half a pixel off": lambda info: info.p.__setitem__(6, info.p[6] + 0.5),
    "fx of the raw image": lambda info: info.p.__setitem__(0, RAW.K[0] * GRID[0] / RAW.width),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_depth_calibration_that_is_a_little_wrong_is_noticed(slip: str) -> None:
    seen = see(RAW, RAW.info())
    SLIPS[slip](seen.info)
    assert not errors_of(RAW, seen, cloud_of_depth(seen.depth, seen.info)).is_ground_truth


@pytest.mark.parametrize(
    "kind", ["rectified, of a pair", "plumb_bob, turned", "region of interest and binning"]
)
def test_the_node_sends_that_cloud(
    kind: str, probe: Probe, domain: int, start: Callable[[list[str]], Program]
) -> None:
    """A process and the middleware: its messages are those of the tests above."""
    camera, space = CAMERAS[kind], f"/room{list(CAMERAS).index(kind)}"
    program = start([*ROOM_NODE, kind, *IN_ORDER, "-r", f"__ns:={space}"])
    received = {
        name: probe.listen(f"{space}/sfm_node/{name}", type_) for name, type_ in OUTPUTS.items()
    }
    publishers = probe.node.count_publishers
    wait_until(lambda: all(publishers(f"{space}/sfm_node/{name}") for name in OUTPUTS), "topics")
    probe.publish(f"{space}/camera_info", camera.info())
    for message in images(camera):
        probe.publish(f"{space}/image", message)
    wait_until(lambda: all(received.values()), f"depth and cloud; the node said:\n{program.said}")
    depth, info, points = (messages[0] for messages in received.values())
    seen = see(camera, camera.info())
    cloud = cloud_of_depth(depth, info)
    assert errors_of(camera, seen, cloud).is_ground_truth
    assert points_of(points) == pytest.approx(cloud, rel=1e-5, abs=1e-5)
    assert info.p == pytest.approx(seen.info.p)
