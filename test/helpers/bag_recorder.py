"""A writer of bags of every kind, for the tests that read them."""

from __future__ import annotations

import numpy as np
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.geometry import quat_xyzw_from_matrix

START = 1_700_000_000_000_000_000
CAMERA = CameraIntrinsics(width=8, height=6, fx=10, fy=11, cx=3.5, cy=2.5)


class Recorder:
    """Writes messages to a bag of any kind; handles the few differences between ROS 1 and 2."""

    def __init__(self, path, kind, compression=None):
        self._is_ros1 = kind == "ros1"
        self._store = get_typestore(Stores.ROS1_NOETIC if self._is_ros1 else Stores.ROS2_JAZZY)
        self.path = path.with_suffix(".bag") if self._is_ros1 else path
        if self._is_ros1:
            self._writer = rosbag1.Writer(self.path)
        else:
            plugin = rosbag2.StoragePlugin[kind.upper()]
            self._writer = rosbag2.Writer(self.path, version=9, storage_plugin=plugin)
            if compression is not None:
                self._writer.set_compression(compression, rosbag2.CompressionFormat.ZSTD)
        self._connections = {}
        self._writer.open()

    def type(self, name, **fields):
        return self._store.types[name](**fields)

    def header(self, stamp_ns, frame_id="cam"):
        stamp = self.type(
            "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        extra = {"seq": 0} if self._is_ros1 else {}
        return self.type("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id, **extra)

    def add(self, topic, message, log_ns):
        kind = message.__msgtype__
        if topic not in self._connections:
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            self._connections[topic] = connection
        serialize = self._store.serialize_ros1 if self._is_ros1 else self._store.serialize_cdr
        self._writer.write(self._connections[topic], log_ns, serialize(message, kind))

    def image(self, topic, data, encoding, stamp_ns, step=None, bigendian=0, log_ns=None, **size):
        rows = np.ascontiguousarray(data).view(np.uint8).reshape(size.get("height", 6), -1)
        message = self.type(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_ns),
            height=size.get("height", 6),
            width=size.get("width", 8),
            encoding=encoding,
            is_bigendian=bigendian,
            step=step or rows.shape[1],
            data=rows.reshape(-1),
        )
        self.add(topic, message, stamp_ns if log_ns is None else log_ns)

    def compressed(self, topic, data, stamp_ns, format="png"):
        message = self.type(
            "sensor_msgs/msg/CompressedImage",
            header=self.header(stamp_ns),
            format=format,
            data=np.frombuffer(data, np.uint8),
        )
        self.add(topic, message, stamp_ns)

    def info(
        self, topic, stamp_ns=START, camera=CAMERA, binning=0, roi=(0, 0, 0, 0), model="plumb_bob",
        **matrices,
    ):  # fmt: skip
        """``matrices`` replace d, k, r or p."""
        names = "DKRP" if self._is_ros1 else "dkrp"
        values = (np.zeros(5), camera.K.ravel(), np.eye(3).ravel(), np.eye(3, 4).ravel() * 9)
        values = [
            np.array(matrices.get(name.lower(), value), dtype=float)
            for name, value in zip(names, values, strict=True)
        ]
        region = self.type(
            "sensor_msgs/msg/RegionOfInterest",
            **dict(zip(("x_offset", "y_offset", "width", "height"), roi, strict=True)),
            do_rectify=False,
        )
        message = self.type(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_ns),
            height=camera.height,
            width=camera.width,
            distortion_model=model,
            binning_x=binning,
            binning_y=binning,
            roi=region,
            **dict(zip(names, values, strict=True)),
        )
        self.add(topic, message, stamp_ns)

    def pose(self, topic, T_body, stamp_ns, stamped=False):
        x, y, z = T_body[:3, 3]
        qx, qy, qz, qw = quat_xyzw_from_matrix(T_body[:3, :3])
        pose = self.type(
            "geometry_msgs/msg/Pose",
            position=self.type("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=self.type("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        if stamped:
            name = "geometry_msgs/msg/PoseStamped"
            self.add(topic, self.type(name, header=self.header(stamp_ns), pose=pose), stamp_ns)
            return
        vector = self.type("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
        twist = self.type("geometry_msgs/msg/Twist", linear=vector, angular=vector)
        message = self.type(
            "nav_msgs/msg/Odometry",
            header=self.header(stamp_ns, "world"),
            child_frame_id="cam",
            pose=self.type(
                "geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)
            ),
            twist=self.type(
                "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)
            ),
        )
        self.add(topic, message, stamp_ns)

    def done(self):
        self._writer.close()
        return self.path


def record_stamps(recorder, stamps):
    """A bag of 8x6 images that came every 0.1 s, with these stamps in their headers."""
    for index, stamp in enumerate(stamps):
        log_ns = START + index * 100_000_000
        recorder.info("/cam/camera_info", log_ns, k=[10, 0, 3.5, 0, 11, 2.5, 0, 0, 1])
        pixels = np.full((6, 8), 9 + index, np.uint8)
        recorder.image("/cam/image_raw", pixels, "mono8", stamp, log_ns=log_ns)
    return recorder.done()
