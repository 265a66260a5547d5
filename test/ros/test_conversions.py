"""Messages to core types and back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from hostile_images import encoded, with_size
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from sfm_ros.config import NoiseConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.formats.camera_info import camera_from_info
from sfm_ros.formats.image_codec import SUPPORTED_ENCODINGS
from sfm_ros.geometry import quat_xyzw_from_matrix, rigid_motion, se3_exp, so3_exp
from sfm_ros.pose import PoseIntegrator
from sfm_ros.ros import compat, conversions
from sfm_ros.ros.compat import byte_array, create_cloud
from sfm_ros.ros.node.calibration import CalibrationCache

RNG = np.random.default_rng(5)


def camera_info(**changes: object) -> CameraInfo:
    info = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0, 0, 0, 0])
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    for name, value in changes.items():
        setattr(info, name, value)
    return info


def random_pose() -> np.ndarray:
    return se3_exp(RNG.uniform(-2, 2, 6))


@settings(max_examples=50, deadline=None)
@given(st.integers(min_value=0, max_value=(2**31 - 1) * 10**9 + 999_999_999))
def test_stamps_keep_every_nanosecond(stamp_ns: int) -> None:
    assert conversions.stamp_to_ns(conversions.stamp_from_ns(stamp_ns)) == stamp_ns


def test_absent_matrices_of_a_calibration_are_none() -> None:
    camera = camera_from_info(camera_info()).intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 510, 320, 240)
    assert camera.distortion[0] == 0.1
    assert camera.P is None


def test_calibration_round_trip() -> None:
    P = np.array([[400.0, 0, 300, -20], [0, 400, 200, 0], [0, 0, 1, 0]])
    R = se3_exp([0, 0, 0, 0.01, 0.02, 0.03])[:3, :3]
    camera = CameraIntrinsics(
        width=640, height=480, fx=500, fy=510, cx=320, cy=240, distortion=(0.1,) * 5, R=R, P=P
    )
    again = camera_from_info(
        conversions.info_from_intrinsics(camera, Header(frame_id="eye"))
    ).intrinsics
    assert np.array_equal(again.K, camera.K)
    assert again.P is not None and np.array_equal(again.P, P)
    assert again.R is not None and np.allclose(again.R, R)
    assert again.distortion == camera.distortion


def test_region_and_binning_give_the_camera_of_the_sent_image() -> None:
    info = camera_info(binning_x=2, binning_y=2)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 400, 200
    camera = camera_from_info(info).intrinsics
    assert (camera.width, camera.height) == (200, 100)
    # The pixel at (cx, cy): two columns become one whose center is between them.
    assert camera.cx == pytest.approx((320 - 100 + 0.5) / 2 - 0.5)
    assert camera.cy == pytest.approx((240 - 40 + 0.5) / 2 - 0.5)
    assert camera.fx == 250


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_unusable_calibration_is_refused(value: float) -> None:
    with pytest.raises(CalibrationError):
        camera_from_info(camera_info(k=[value] * 9))


def test_nan_in_the_projection_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not finite"):
        camera_from_info(camera_info(p=[float("nan")] * 12))


def test_cache_keeps_the_object_until_the_content_changes() -> None:
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
def test_any_image_gives_a_frame_or_a_named_error(
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


def test_large_compressed_image_is_refused_by_its_header() -> None:
    camera = CameraIntrinsics(width=51, height=37, fx=5, fy=5, cx=3, cy=2)
    bomb = CompressedImage(format="png", data=with_size("png", 30_000, 30_000))
    with pytest.raises(ImageError, match="30000x30000 pixels, expected at most 64 million"):
        conversions.frame_from_image(bomb, camera)
    image = CompressedImage(format="jpeg", data=encoded("jpg"))
    assert conversions.frame_from_image(image, camera, 0.002).rgb.shape == (37, 51, 3)
    with pytest.raises(ImageError, match="expected at most 0.001 million"):
        conversions.frame_from_image(image, camera, 0.001)


def test_other_encodings_are_decoded_by_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    class CvBridge:
        def imgmsg_to_cv2(self, message: Image, encoding: str) -> np.ndarray:
            assert encoding == "rgb8"
            assert message.encoding not in SUPPORTED_ENCODINGS, "it is asked last"
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
    for encoding, expected in (("nonsense", "nonsense"), ("rgb8", "step")):
        message.encoding = encoding
        with pytest.raises(ImageError, match=expected):
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
    rgb = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    cloud = conversions.cloud_from_depth(depth, rgb, camera, Header(frame_id="eye"))
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb"]
    assert (cloud.height, cloud.width, cloud.row_step) == (4, 6, 96)
    x, y, z, _ = np.moveaxis(np.frombuffer(cloud.data, "<f4").reshape(4, 6, 4), -1, 0)
    colors = np.frombuffer(cloud.data, np.uint8).reshape(4, 6, 16)[..., 12:]
    assert np.array_equal(colors[..., 2::-1], rgb) and not colors[..., 3].any()
    rows, columns = np.mgrid[:4, :6]
    valid = np.isfinite(z)
    assert valid.sum() == 23
    assert np.allclose((5 * x / z + 2.5)[valid], columns[valid], atol=1e-4)
    assert np.allclose((4 * y / z + 1.5)[valid], rows[valid], atol=1e-4)


def test_sensor_msgs_py_makes_the_same_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    class PointCloud2Module:
        """Its contract: (N, number of fields) points of one type, one row."""

        @staticmethod
        def create_cloud(
            header: Header, fields: list[PointField], points: np.ndarray
        ) -> PointCloud2:
            assert points.shape[1:] == (len(fields),)
            assert {field.datatype for field in fields} == {PointField.FLOAT32}
            step = 4 * len(fields)
            cloud = PointCloud2(header=header, height=1, width=len(points), point_step=step)
            cloud.fields = fields
            cloud.data = points.astype("<f4").tobytes()
            return cloud

    points = RNG.normal(size=(2, 5, 4)).astype(np.float32)
    own = create_cloud(Header(), points)
    monkeypatch.setattr(compat, "_point_cloud2", PointCloud2Module)
    other = create_cloud(Header(), points)
    expected = [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)]
    for cloud in (own, other):
        assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (2, 5, 16, 80)
        assert [(field.name, field.offset) for field in cloud.fields] == expected
        assert bytes(cloud.data) == points.tobytes()


def test_quaternion_is_that_of_the_rotation() -> None:
    for _ in range(50):
        R = so3_exp(RNG.normal(size=3))
        q = compat.quaternion_message(R)
        found = np.array([q.x, q.y, q.z, q.w])
        expected = quat_xyzw_from_matrix(R)
        np.testing.assert_allclose(found * np.sign(found @ expected), expected, atol=1e-12)


def test_byte_array_of_an_array_that_is_not_contiguous() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    assert bytes(byte_array(values)) == values.tobytes()


def test_odometry_has_the_twist_that_produces_the_motion() -> None:
    pose = PoseIntegrator(NoiseConfig())
    motion = se3_exp([0.5, 0.1, 0.0, 0.0, 0.0, 0.2])
    pose.advance(motion, np.diag([0.04, 0.01, 0.01, 1e-4, 1e-4, 4e-4]))
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
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        q, t = message.transform.rotation, message.transform.translation
        assert rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z]) == pytest.approx(T)
