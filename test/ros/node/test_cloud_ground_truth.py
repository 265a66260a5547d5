"""The cloud of ~/depth/image and its camera_info is the room in which the camera is.

Each image encodes for each pixel which pixel of the camera's sensor it is. So the test knows the
sensor pixel of every point of the cloud, and checks two things with optics of its own: the point
is where that pixel's ray meets the room, and projected through the lens it is at that pixel.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from rig.probe import Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.camera import FRAME, PERIOD_NS
from rig.fake_ros import FakeNode
from rig.fault_rig import message_of
from rig.room import Numbers, Optics, cloud_of_depth, room_depth
from rig.room_node import CAMERAS, GRID, RoomEngine
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sfm_ros.config import DepthConfig, SfmConfig
from sfm_ros.datatypes import OdometryEstimate
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.publishers import Outputs

MOST_ERROR, MOST_PX, MOST_BIAS_PX = 0.002, 0.5, 0.1
"""Ratio to a point's distance, a fifth of the 1 % that is promised; and sensor pixels, of any
point and in the mean of all."""
LEAST_SHOWN = 0.75
"""Fraction of the grid that shows the image; outside an undistorted image it is black."""
ROOM_NODE = [sys.executable, "-m", "rig.room_node"]
IN_ORDER = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
OUTPUTS = {"depth/image": Image, "depth/camera_info": CameraInfo, "points": PointCloud2}


class Seen(NamedTuple):
    """The messages of some images, and the sensor pixel that each pixel of the depth shows."""

    depth: Image
    info: CameraInfo
    points: PointCloud2
    positions: Numbers
    shown: NDArray[np.bool_]


def image_of(camera: Optics, index: int) -> Image:
    """Encodes x if the index is even, else y."""
    return message_of(camera.image(index % 2), (index + 1) * PERIOD_NS)


def see(camera: Optics, info: CameraInfo) -> Seen:
    """Process images as the node does, without the middleware.

    Args:
        camera: the one that took the images.
        info: the calibration that the node gets.
    """
    input = "rectified" if camera.is_rectified else "auto"
    config = SfmConfig(depth=DepthConfig(mode="network"))  # the engine's depth is exact
    node, engine, calibration = FakeNode(), RoomEngine(camera), CalibrationCache(input=input)
    outputs = Outputs(node, config)  # type: ignore[arg-type]
    odometry = VisualOdometry(engine, config)
    calibration.take(info)
    for index in range(3):  # as many as fill the window
        intrinsics = calibration.wait(0)
        assert intrinsics is not None
        estimate = odometry.step(conversions.frame_from_image(image_of(camera, index), intrinsics))
        outputs.publish(estimate, extrinsics_of(estimate))
    depth, depth_info, points = (node.published(f"~/{name}")[-1] for name in OUTPUTS)
    return Seen(depth, depth_info, points, engine.positions, engine.shown)


def extrinsics_of(estimate: OdometryEstimate) -> Extrinsics:
    return Extrinsics(
        child="body",
        optical_frame=estimate.frame_id,
        T_body_camera=conversions.T_BODY_OPTICAL,
        is_known=False,
    )


class Errors(NamedTuple):
    """How far a cloud is from the room: ratio to the distance, and pixels of the sensor."""

    off: float
    px: float
    bias_px: float

    @property
    def is_ground_truth(self) -> bool:
        return self.off < MOST_ERROR and self.px < MOST_PX and self.bias_px < MOST_BIAS_PX


def errors_of(camera: Optics, seen: Seen, cloud: Numbers) -> Errors:
    """The greatest of all points, and the mean offset of their projections."""
    assert seen.shown.mean() > LEAST_SHOWN
    points, positions = cloud[seen.shown], seen.positions[seen.shown]
    rays = camera.rays(positions)
    ground_truth = rays * room_depth(rays)[:, None]
    off = np.linalg.norm(points - ground_truth, axis=1) / np.linalg.norm(ground_truth, axis=1)
    off_px = camera.project(points) - positions
    return Errors(
        off=float(off.max()),
        px=float(np.linalg.norm(off_px, axis=1).max()),
        bias_px=float(np.linalg.norm(off_px.mean(axis=0))),
    )


def points_of(message: PointCloud2) -> Numbers:
    """(h, w, 3) of an organized cloud of x, y, z and a color."""
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb"]
    shape = (message.height, message.width, 4)
    return np.frombuffer(message.data, np.float32).reshape(shape)[..., :3].astype(np.float64)


@pytest.mark.parametrize("kind", CAMERAS)
def test_every_point_is_on_the_ray_of_its_pixel(kind: str) -> None:
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
WRONG: dict[str, tuple[Optics, Optics]] = {
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


@pytest.mark.parametrize("case", WRONG)
def test_slightly_wrong_calibration_is_detected(case: str) -> None:
    """Else the test above would prove nothing: here the node gets another camera's calibration."""
    camera, claimed = WRONG[case]
    seen = see(camera, claimed.info())
    assert not errors_of(camera, seen, cloud_of_depth(seen.depth, seen.info)).is_ground_truth


SLIPS: dict[str, Callable[[CameraInfo], None]] = {
    "cx a pixel off": lambda info: info.p.__setitem__(2, info.p[2] + 1),
    "cy half a pixel off": lambda info: info.p.__setitem__(6, info.p[6] + 0.5),
    "fx of the raw image": lambda info: info.p.__setitem__(0, RAW.K[0] * GRID[0] / RAW.width),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slightly_wrong_depth_calibration_is_detected(slip: str) -> None:
    seen = see(RAW, RAW.info())
    SLIPS[slip](seen.info)
    assert not errors_of(RAW, seen, cloud_of_depth(seen.depth, seen.info)).is_ground_truth


@pytest.mark.parametrize(
    "kind", ["rectified, of a pair", "plumb_bob, turned", "region of interest and binning"]
)
def test_node_publishes_that_cloud(
    kind: str, probe: Probe, domain: int, start: Callable[[list[str]], Program]
) -> None:
    """As a process on the middleware: its messages are those of the tests above."""
    camera, space = CAMERAS[kind], f"/room{list(CAMERAS).index(kind)}"
    network = ["-p", "depth.mode:=network"]  # the depth of the engine is exact
    program = start([*ROOM_NODE, kind, *IN_ORDER, *network, "-r", f"__ns:={space}"])
    received = {
        name: probe.listen(f"{space}/sfm_node/{name}", type_) for name, type_ in OUTPUTS.items()
    }
    publishers = probe.node.count_publishers
    wait_until(lambda: all(publishers(f"{space}/sfm_node/{name}") for name in OUTPUTS), "topics")
    probe.publish(f"{space}/camera_info", camera.info())
    indices = itertools.count()

    def of_one_image() -> tuple | None:  # the first may be lost before they are connected
        probe.publish(f"{space}/image", image_of(camera, next(indices)))
        time.sleep(0.03)
        by_stamp = [{str(m.header.stamp): m for m in list(kept)} for kept in received.values()]
        common = set.intersection(*(set(messages) for messages in by_stamp))
        return tuple(messages[min(common)] for messages in by_stamp) if common else None

    depth, info, points = program.wait_until(of_one_image, "depth and cloud of one image")
    seen = see(camera, camera.info())
    cloud = cloud_of_depth(depth, info)
    assert errors_of(camera, seen, cloud).is_ground_truth
    assert points_of(points) == pytest.approx(cloud, rel=1e-5, abs=1e-5)
    assert info.p == pytest.approx(seen.info.p)
