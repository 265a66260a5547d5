"""Messages to core types and back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from sfm_ros.config import NoiseConfig
from sfm_ros.datatypes import CameraIntrinsics, body_frame_name
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.formats.camera_info import intrinsics_from_info
from sfm_ros.geometry import (
    inverse,
    make_transform,
    optical_to_body,
    se3_exp,
    so3_exp,
    so3_log,
)
from sfm_ros.pose import PoseIntegrator
from sfm_ros.ros import compat, conversions
from sfm_ros.ros.compat import TransformTree, byte_array, create_cloud, matrix_from_message
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import ExtrinsicsLookup

RNG = np.random.default_rng(5)


def camera_info(**changes: object) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0, 0, 0, 0])
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def random_pose(reach: float = 2.0) -> np.ndarray:
    return se3_exp(RNG.uniform(-reach, reach, 6))


@settings(max_examples=50, deadline=None)
@given(st.integers(min_value=0, max_value=(2**31 - 1) * 10**9 + 999_999_999))
def test_stamps_keep_every_nanosecond(stamp_ns: int) -> None:
    assert conversions.stamp_to_ns(conversions.stamp_from_ns(stamp_ns)) == stamp_ns


def test_calibration_is_read_and_absent_matrices_are_none() -> None:
    camera = intrinsics_from_info(camera_info())
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 510, 320, 240)
    assert camera.distortion[0] == 0.1
    assert camera.P is None


def test_calibration_round_trip() -> None:
    P = np.array([[400.0, 0, 300, -20], [0, 400, 200, 0], [0, 0, 1, 0]])
    R = se3_exp([0, 0, 0, 0.01, 0.02, 0.03])[:3, :3]
    camera = CameraIntrinsics(
        width=640, height=480, fx=500, fy=510, cx=320, cy=240, distortion=(0.1,) * 5, R=R, P=P
    )
    again = intrinsics_from_info(conversions.info_from_intrinsics(camera, Header(frame_id="eye")))
    assert np.array_equal(again.K, camera.K)
    assert again.P is not None and np.array_equal(again.P, P)
    assert again.R is not None and np.allclose(again.R, R)
    assert again.distortion == camera.distortion


def test_region_and_binning_give_the_camera_of_the_image_that_is_sent() -> None:
    info = camera_info(binning_x=2, binning_y=2)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 400, 200
    camera = intrinsics_from_info(info)
    assert (camera.width, camera.height) == (200, 100)
    # The pixel that saw (cx, cy): two columns become one whose center lies between them.
    assert camera.cx == pytest.approx((320 - 100 + 0.5) / 2 - 0.5)
    assert camera.cy == pytest.approx((240 - 40 + 0.5) / 2 - 0.5)
    assert camera.fx == 250


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_useless_calibration_is_refused(value: float) -> None:
    with pytest.raises(CalibrationError):
        intrinsics_from_info(camera_info(k=[value] * 9))


def test_nan_in_the_projection_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not finite"):
        intrinsics_from_info(camera_info(p=[float("nan")] * 12))


def test_cache_gives_the_same_object_until_the_content_changes() -> None:
    cache = CalibrationCache()
    assert cache.wait(0) is None
    cache.take(camera_info())
    first = cache.wait(0)
    later = camera_info()
    later.header.stamp.sec = 9
    cache.take(later)
    assert cache.wait(0) is first
    cache.take(camera_info(k=[0.0] * 9))
    with pytest.raises(CalibrationError):
        cache.wait(0)
    cache.take(camera_info(d=[0.2] * 5))
    assert cache.wait(0) is not first


def test_raw_image_becomes_rgb_with_stamp_and_frame() -> None:
    bgr = RNG.integers(0, 255, (4, 6, 3), dtype=np.uint8)
    padded = np.pad(bgr.reshape(4, 18), ((0, 0), (0, 2)))
    message = Image(height=4, width=6, encoding="bgr8", step=20, data=padded.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = 7, 5
    message.header.frame_id = "/eye"
    camera = CameraIntrinsics(width=6, height=4, fx=5, fy=5, cx=3, cy=2)
    frame = conversions.frame_from_image(message, camera)
    assert np.array_equal(frame.rgb, bgr[..., ::-1])
    assert (frame.stamp_ns, frame.frame_id) == (7_000_000_005, "eye")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 200),
    st.sampled_from(["rgb8", "mono8", "mono16", "bayer_rggb8", "yuv422", "", "32FC1", "nv21"]),
    st.binary(max_size=600),
)  # fmt: skip
def test_any_image_message_gives_a_frame_or_a_named_error(
    width: int, height: int, step: int, encoding: str, data: bytes
) -> None:
    message = Image(height=height, width=width, encoding=encoding, step=step, data=data)
    camera = CameraIntrinsics(width=8, height=4, fx=5, fy=5, cx=3, cy=2)
    try:
        frame = conversions.frame_from_image(message, camera)
    except (ImageError, CalibrationError) as error:
        assert str(error)
    else:
        assert frame.rgb.shape == (4, 8, 3)


def test_damaged_compressed_image_is_refused() -> None:
    camera = CameraIntrinsics(width=8, height=4, fx=5, fy=5, cx=3, cy=2)
    with pytest.raises(ImageError, match="jpeg"):
        conversions.frame_from_image(CompressedImage(format="jpeg", data=b"nothing"), camera)


def test_encodings_only_cv_bridge_knows_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class CvBridge:
        def imgmsg_to_cv2(self, message: Image, encoding: str) -> np.ndarray:
            assert encoding == "rgb8"
            if message.encoding != "nv21":
                raise RuntimeError("cannot convert")
            return np.full((message.height, message.width, 3), 9, np.uint8)

    class Module:
        pass

    Module.CvBridge = CvBridge  # type: ignore[attr-defined]
    monkeypatch.setattr(compat, "_cv_bridge", Module)
    camera = CameraIntrinsics(width=8, height=4, fx=5, fy=5, cx=3, cy=2)
    message = Image(height=4, width=8, encoding="nv21", step=8, data=bytes(48))
    assert conversions.frame_from_image(message, camera).rgb[0, 0, 0] == 9
    message.encoding = "nonsense"
    with pytest.raises(ImageError, match="nonsense"):
        conversions.frame_from_image(message, camera)


def test_depth_message_keeps_every_value_and_nan() -> None:
    depth = RNG.uniform(1, 50, (3, 5)).astype(np.float32)
    depth[1, 2] = np.nan
    message = conversions.depth_to_image(depth, Header(frame_id="eye"))
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 20, 0)
    assert np.array_equal(np.frombuffer(message.data, "<f4").reshape(3, 5), depth, equal_nan=True)


def test_cloud_points_project_back_onto_their_pixels() -> None:
    depth = RNG.uniform(1, 50, (4, 6)).astype(np.float32)
    depth[0, 0] = np.nan
    camera = CameraIntrinsics(width=6, height=4, fx=5, fy=4, cx=2.5, cy=1.5)
    cloud = conversions.cloud_from_depth(depth, camera, Header(frame_id="eye"))
    assert [field.name for field in cloud.fields] == ["x", "y", "z"]
    assert (cloud.height, cloud.width, cloud.row_step) == (4, 6, 72)
    x, y, z = np.moveaxis(np.frombuffer(cloud.data, "<f4").reshape(4, 6, 3), -1, 0)
    rows, columns = np.mgrid[:4, :6]
    valid = np.isfinite(z)
    assert valid.sum() == 23
    assert np.allclose((5 * x / z + 2.5)[valid], columns[valid], atol=1e-4)
    assert np.allclose((4 * y / z + 1.5)[valid], rows[valid], atol=1e-4)


def test_sensor_msgs_py_makes_the_same_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    class PointCloud2Module:
        """Its contract: (N, 3) points, one row."""

        @staticmethod
        def create_cloud_xyz32(header: Header, points: np.ndarray) -> PointCloud2:
            assert points.ndim == 2
            cloud = PointCloud2(header=header, height=1, width=len(points), point_step=12)
            cloud.data = points.astype("<f4").tobytes()
            return cloud

    points = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    own = create_cloud(Header(), points)
    monkeypatch.setattr(compat, "_point_cloud2", PointCloud2Module)
    other = create_cloud(Header(), points)
    for cloud in (own, other):
        assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (2, 5, 12, 60)
        assert bytes(cloud.data) == points.tobytes()


def test_transforms3d_makes_the_same_quaternion(monkeypatch: pytest.MonkeyPatch) -> None:
    quaternions = pytest.importorskip("transforms3d.quaternions")
    for _ in range(50):
        R = so3_exp(RNG.normal(size=3))
        monkeypatch.setattr(compat, "_transforms3d", None)
        own = compat.quaternion_message(R)
        monkeypatch.setattr(compat, "_transforms3d", quaternions)
        other = compat.quaternion_message(R)
        a, b = (np.array([q.x, q.y, q.z, q.w]) for q in (own, other))
        np.testing.assert_allclose(a * np.sign(a @ b), b, atol=1e-12)


def test_byte_array_takes_arrays_that_are_not_contiguous() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    assert bytes(byte_array(values)) == values.tobytes()


def test_unknown_extrinsics_is_the_camera_in_body_axes() -> None:
    T = random_pose()
    found = conversions.pose_in_body_axes(T, conversions.T_BODY_OPTICAL)
    assert np.allclose(found, optical_to_body(T))


def test_a_robot_that_turns_on_the_spot_stays_there_although_its_camera_moves() -> None:
    T_base_camera = make_transform(np.eye(3), [1.0, 0.2, 0.5]) @ conversions.T_BODY_OPTICAL
    turn = make_transform(se3_exp([0, 0, 0, 0, 0, 0.7])[:3, :3], np.zeros(3))
    T_camera = inverse(T_base_camera) @ turn @ T_base_camera
    assert np.linalg.norm(T_camera[:3, 3]) > 0.5
    found = conversions.pose_in_body_axes(T_camera, T_base_camera)
    assert np.allclose(found, turn, atol=1e-12)


def test_covariance_in_body_axes_agrees_with_sampled_poses() -> None:
    """Disturb the camera's pose at random and look at how far the body's pose moves."""
    T, B = random_pose(), random_pose()
    A = RNG.normal(size=(6, 6)) * 1e-3
    covariance = A @ A.T
    expected = conversions.covariance_in_body_axes(covariance, T, B)
    nominal = conversions.pose_in_body_axes(T, B)
    errors = []
    for sample in RNG.multivariate_normal(np.zeros(6), covariance, 4000):
        R = make_transform(se3_exp([0, 0, 0, *sample[3:]])[:3, :3], np.zeros(3))[:3, :3]
        disturbed = make_transform(R @ T[:3, :3], T[:3, 3] + sample[:3])
        moved = conversions.pose_in_body_axes(disturbed, B)
        rotation = so3_log(moved[:3, :3] @ nominal[:3, :3].T)
        errors.append([*(moved[:3, 3] - nominal[:3, 3]), *rotation])
    sampled = np.cov(np.array(errors).T)
    assert np.allclose(sampled, expected, atol=0.1 * np.abs(expected).max())


def test_odometry_carries_pose_covariance_and_the_twist_that_makes_the_motion() -> None:
    pose = PoseIntegrator(NoiseConfig())
    motion = se3_exp([0.5, 0.1, 0.0, 0.0, 0.0, 0.2])
    pose.advance(motion[None])
    message = conversions.odometry_message(
        Header(frame_id="odom"), "base_link", pose.T_odom_camera, pose.covariance, motion,
        pose.covariance, 100_000_000,
    )  # fmt: skip
    assert np.allclose(np.reshape(message.pose.covariance, (6, 6)), pose.covariance)
    assert np.allclose(np.reshape(message.twist.covariance, (6, 6)), pose.covariance / 0.01)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    rates = [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]
    assert rates == pytest.approx([5.0, 1.0, 0.0, 0.0, 0.0, 2.0], abs=1e-9)


def test_transform_message_round_trip() -> None:
    for _ in range(20):
        T = random_pose()
        message = conversions.transform_message(T, 12, "odom", "base_link")
        assert np.allclose(matrix_from_message(message.transform), T)


@pytest.mark.parametrize(
    ("optical", "body"),
    [
        ("camera_optical", "camera_body"),
        ("camera_color_optical_frame", "camera_color_body_frame"),
        ("camera", "camera_body"),
    ],
)
def test_name_of_the_body_frame(optical: str, body: str) -> None:
    assert body_frame_name(optical) == body


def tree_of(**parents: tuple[str, np.ndarray]) -> TransformTree:
    tree = TransformTree()
    for child, (parent, T) in parents.items():
        tree.add(conversions.transform_message(T, 0, parent, child))
    return tree


def test_tree_chains_transforms_up_and_down() -> None:
    T_base_mast, T_mast_eye, T_base_arm = random_pose(), random_pose(), random_pose()
    tree = tree_of(mast=("base", T_base_mast), eye=("mast", T_mast_eye), arm=("/base", T_base_arm))
    found = tree.find("arm", "eye")
    assert found is not None
    assert np.allclose(found, inverse(T_base_arm) @ T_base_mast @ T_mast_eye)
    assert tree.find("base", "elsewhere") is None
    assert tree.has_parent("eye") and not tree.has_parent("base")


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [
        ((0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
        ((0.0, np.nan, 0.0, 1.0), (1.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0, 1.0), (np.inf, 0.0, 0.0)),
    ],
    ids=["a quaternion of zeros", "not a number", "infinitely far"],
)
def test_a_transform_that_is_none_is_passed_over(
    rotation: tuple[float, ...], translation: tuple[float, ...]
) -> None:
    """Else every pose of the robot would be NaN."""
    tree = TransformTree()
    bad = conversions.transform_message(np.eye(4), 0, "base", "eye")
    q, t = bad.transform.rotation, bad.transform.translation
    q.x, q.y, q.z, q.w = rotation
    t.x, t.y, t.z = translation
    tree.add(bad)
    assert tree.find("base", "eye") is None
    tree.add(conversions.transform_message(np.eye(4), 0, "base", "eye"))
    assert tree.find("base", "eye") == pytest.approx(np.eye(4))


def test_tree_survives_a_cycle() -> None:
    tree = tree_of(a=("b", np.eye(4)), b=("a", np.eye(4)))
    assert tree.find("c", "a") is None


@pytest.mark.parametrize("base_frame", ["base", "", "eye"])
def test_a_extrinsics_is_never_invented(base_frame: str) -> None:
    """Nobody connects the frames, there is no base frame, or the image calls itself the base."""
    finder = ExtrinsicsLookup(tree_of, base_frame, 0.0, lambda _: None)
    extrinsics = finder.of("eye")
    assert (extrinsics.child, extrinsics.is_known) == ("eye_body", False)
    assert np.allclose(extrinsics.T_body_camera, conversions.T_BODY_OPTICAL)
    assert extrinsics.is_ours_to_tell
    assert finder.of("eye") is extrinsics


def test_a_camera_that_has_its_place_in_tf_gets_no_second_parent() -> None:
    tree = tree_of(eye=("camera_link", np.eye(4)))
    extrinsics = ExtrinsicsLookup(lambda: tree, "base", 0.0, lambda _: None).of("eye")
    assert not extrinsics.is_known and not extrinsics.is_ours_to_tell


def test_a_wait_for_tf_that_is_cut_short_decides_nothing() -> None:
    tree = TransformTree()
    finder = ExtrinsicsLookup(lambda: tree, "base", 60.0, lambda _: None)
    finder.stop()
    assert finder.of("eye") is None
    tree.add(conversions.transform_message(random_pose(), 0, "base", "eye"))
    finder.resume()
    extrinsics = finder.of("eye")
    assert extrinsics is not None and extrinsics.is_known


def test_a_known_extrinsics_is_taken() -> None:
    T = random_pose()
    tree = tree_of(eye=("base", T))
    extrinsics = ExtrinsicsLookup(lambda: tree, "base", 0.0, lambda _: None).of("eye")
    assert (extrinsics.child, extrinsics.is_known) == ("base", True)
    assert np.allclose(extrinsics.T_body_camera, T)
    assert not extrinsics.is_ours_to_tell


def test_without_tf_the_camera_is_the_body_at_once() -> None:
    extrinsics = ExtrinsicsLookup(lambda: None, "base", 60.0, lambda _: None).of("camera_optical")
    assert extrinsics.child == "camera_body" and not extrinsics.is_ours_to_tell


class ClosingTree(TransformTree):
    """Counts how often nobody listens any more."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_tf_is_listened_to_only_until_it_has_answered() -> None:
    trees: list[ClosingTree] = []

    def make() -> ClosingTree:
        trees.append(ClosingTree())
        return trees[-1]

    finder = ExtrinsicsLookup(make, "base", 0.0, lambda _: None)
    for frame in ("eye", "eye", "other_eye"):
        finder.of(frame)
    assert [tree.closed for tree in trees] == [1, 1]
