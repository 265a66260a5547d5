"""The values of the run time: frames, calibrations, transforms, predictions, estimates.

All types are frozen and keyword-only, and their arrays are read-only, so that a value can be
handed to another thread. This module imports nothing else of the project but errors.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import CalibrationError, ImageError

FloatArray = npt.NDArray[np.float64]
DepthMap = npt.NDArray[np.float32]
RgbImage = npt.NDArray[np.uint8]

OPTICAL_FRAME = "camera_optical"
"""Frame id of a camera if its messages or files have none."""

EQUIDISTANT_MODELS = ("equidistant", "fisheye")
"""Names of the model that differs from a pinhole camera even with coefficients of zero."""

MAX_FRAME_ID = 256
"""Characters of a frame id; names are a few words long."""

_SHORTEST_FOCAL, _LARGEST_PIXEL = 1e-3, 1e9
"""Pixels; far outside the range of real cameras, well within the range of float32 points."""


def body_frame_name(optical_frame: str) -> str:
    """Name of the body-axis frame at a camera whose extrinsics are unknown.

    ``camera_optical`` and ``camera`` both give ``camera_body``. No robot description defines such
    a frame for the camera, so that no frame gets two parents.
    """
    if "optical" in optical_frame:
        return optical_frame.replace("optical", "body")
    return f"{optical_frame}_body"


def is_frame_id(name: str) -> bool:
    """Whether a frame id of others may enter tables and logs: short, no control characters."""
    return len(name) <= MAX_FRAME_ID and name.isprintable()


def read_only(array: npt.NDArray) -> npt.NDArray:
    """A read-only view of an array; the array itself stays writable."""
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraIntrinsics:
    """A pinhole camera in pixels, with pixel centers at integers.

    Attributes:
        width, height: image size.
        fx, fy, cx, cy: entries of K; of the *raw* image if there is distortion.
        distortion_model: ROS name: ``plumb_bob``, ``rational_polynomial`` or ``equidistant``.
        distortion: in the order of the model; empty or zero is none, if it is not equidistant.
        R: (3, 3) rotation from the raw to the rectified camera, or None for identity.
        P: (3, 4) projection of the rectified image, or None to keep K.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()
    R: FloatArray | None = None
    P: FloatArray | None = None

    def __post_init__(self) -> None:
        numbers = [self.fx, self.fy, self.cx, self.cy, *self.distortion]
        for matrix in (self.R, self.P):
            numbers.extend([] if matrix is None else np.ravel(matrix))
        if not np.all(np.isfinite(numbers)):
            raise CalibrationError(
                f"the calibration holds a number that is not finite (fx={self.fx}, fy={self.fy}, "
                f"cx={self.cx}, cy={self.cy}, D={list(self.distortion)}); calibrate it again"
            )
        if self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(
                f"the focal length is fx={self.fx}, fy={self.fy}, expected positive numbers; the "
                "camera is not calibrated (a driver without calibration publishes zeros)"
            )
        pinhole = (self.fx, self.fy, self.cx, self.cy)
        if min(self.fx, self.fy) < _SHORTEST_FOCAL or max(map(abs, pinhole)) > _LARGEST_PIXEL:
            raise CalibrationError(
                f"the calibration is fx={self.fx:g}, fy={self.fy:g}, cx={self.cx:g}, "
                f"cy={self.cy:g}, expected pixels of a real camera; calibrate it again"
            )
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(
                f"the calibration is for a {self.width}x{self.height} image, expected a size"
            )

    @classmethod
    def from_matrix(cls, width: int, height: int, K: FloatArray) -> CameraIntrinsics:
        """The camera without distortion of a (3, 3) camera matrix or (3, 4) projection."""
        fx, fy, cx, cy = (float(K[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return cls(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)

    @property
    def K(self) -> FloatArray:
        """(3, 3) camera matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether the image is not a pinhole camera's: a coefficient differs from zero."""
        return self.distortion_model in EQUIDISTANT_MODELS or any(self.distortion)

    def resized(self, width: int, height: int) -> CameraIntrinsics:
        """The camera of this image scaled to ``width`` x ``height``: c -> (c + 0.5) s - 0.5."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            P=None if self.P is None else _scale_projection(self.P, sx, sy),
        )

    def cropped(self, x: float, y: float, width: int, height: int) -> CameraIntrinsics:
        """The camera of a part of this image, with its top left pixel at (x, y)."""
        shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
        return replace(
            self,
            width=width,
            height=height,
            cx=self.cx - x,
            cy=self.cy - y,
            P=None if self.P is None else shift @ self.P,
        )

    def flipped(self) -> CameraIntrinsics:
        """The camera of this image mirrored left to right.

        Raises:
            CalibrationError: the camera is distorted or not rectified.
        """
        if self.is_distorted or self.R is not None:
            raise CalibrationError(
                "cannot mirror the calibration of a distorted or unrectified camera; rectify first"
            )
        P = None
        if self.P is not None:
            P = np.array(self.P, dtype=np.float64)
            P[0, 2] = self.width - 1 - P[0, 2]
            P[0, 3] = -P[0, 3]
        return replace(self, cx=self.width - 1 - self.cx, P=P)


def _scale_projection(P: FloatArray, sx: float, sy: float) -> FloatArray:
    scale = np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5], [0.0, 0.0, 1.0]])
    return scale @ P


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One image with its stamp and calibration.

    Attributes:
        stamp_ns: time of exposure, integer nanoseconds.
        rgb: (H, W, 3) uint8, RGB order, read-only.
        intrinsics: of exactly this image: with distortion only if the image is not rectified.
        frame_id: name of the camera's optical frame (x right, y down, z forward).
    """

    stamp_ns: int
    rgb: RgbImage
    intrinsics: CameraIntrinsics
    frame_id: str = OPTICAL_FRAME

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ImageError(
                f"the image has shape {self.rgb.shape} and type {self.rgb.dtype}, expected "
                "(height, width, 3) uint8"
            )
        height, width = self.rgb.shape[:2]
        if (width, height) != (self.intrinsics.width, self.intrinsics.height):
            raise CalibrationError(
                f"the image is {width}x{height} but its calibration is for "
                f"{self.intrinsics.width}x{self.intrinsics.height}; publish the camera_info of "
                "the image as it is sent (a node that resizes images must scale both)"
            )
        object.__setattr__(self, "rgb", read_only(self.rgb))


class TrackingStatus(enum.Enum):
    """State of the odometry; `Reason` explains it.

    ``IDLE`` is the state of a node that is configured not to process images, never that of an
    image.
    """

    IDLE = "idle"
    WAITING_FOR_CALIBRATION = "waiting_for_calibration"
    INITIALIZING = "initializing"
    TRACKING = "tracking"
    DEGRADED = "degraded"
    LOST = "lost"


class Reason(enum.Enum):
    """Why the status is not TRACKING."""

    INACTIVE = "inactive"
    PAUSED = "paused"
    NO_SUBSCRIBERS = "no_subscribers"
    NO_IMAGES = "no_images"
    BAD_IMAGE = "bad_image"
    NO_CALIBRATION = "no_calibration"
    CALIBRATION_MISMATCH = "calibration_mismatch"
    CALIBRATION_CHANGED = "calibration_changed"
    WINDOW_NOT_FULL = "window_not_full"
    NO_STAMP = "no_stamp"
    DUPLICATE_STAMP = "duplicate_stamp"
    OUT_OF_ORDER = "out_of_order"
    TIME_REVERSED = "time_reversed"
    GAP = "gap"
    NO_TEXTURE = "no_texture"
    IMAGE_NOISE = "image_noise"
    FROZEN_IMAGE = "frozen_image"
    EXPOSURE_JUMP = "exposure_jump"
    ENGINE_FAILED = "engine_failed"
    NON_FINITE_OUTPUT = "non_finite_output"
    IMPROPER_ROTATION = "improper_rotation"
    FLAT_DEPTH = "flat_depth"
    LOW_LIGHT = "low_light"
    OVEREXPOSED = "overexposed"
    BLUR = "blur"
    FEW_TRACKS = "few_tracks"
    FEW_INLIERS = "few_inliers"
    MOVING_OBJECTS = "moving_objects"
    LOW_PARALLAX = "low_parallax"
    FRAMES_MISSING = "frames_missing"
    MOTION_MISMATCH = "motion_mismatch"
    DEPTH_MISMATCH = "depth_mismatch"
    SCALE_UNKNOWN = "scale_unknown"
    SCALE_UNCERTAIN = "scale_uncertain"
    SCALE_STALE = "scale_stale"
    IMPLAUSIBLE_MOTION = "implausible_motion"
    IMPLAUSIBLE_ROTATION = "implausible_rotation"


class ScaleSource(enum.Enum):
    """Where the scale of lengths comes from."""

    UNKNOWN = "unknown"
    FIXED = "fixed"
    MODEL = "model"
    CAMERA_HEIGHT = "camera_height"
    EXTERNAL = "external"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleState:
    """Scale of lengths.

    Attributes:
        value: factor from network units to published units, as depth is multiplied by.
        source: what defines the unit of length.
        sigma: relative standard deviation of lengths.
        age_s: time since the source last corrected the scale, seconds; inf if never.
    """

    value: float = 1.0
    source: ScaleSource = ScaleSource.UNKNOWN
    sigma: float = 0.0
    age_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """Output of an engine for one window of N frames.

    Attributes:
        depth: (h, w) float32 along +z in network units, of the newest frame, on the model's grid.
        increments: (N-1, 4, 4) float64 T_{k-1}_{k} of neighboring frames, oldest first: each maps
            points of a camera into the previous one.
        inference_ns: time spent in the engine.
    """

    depth: DepthMap
    increments: FloatArray
    inference_ns: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", read_only(self.depth))
        object.__setattr__(self, "increments", read_only(self.increments))

    @property
    def T_prev_curr(self) -> FloatArray:
        """(4, 4) motion between the two newest frames."""
        return self.increments[-1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OdometryEstimate:
    """Result of one step; the node publishes from nothing else.

    Attributes:
        stamp_ns: stamp of the frame.
        frame_id: the camera's optical frame.
        status, reasons, note: whether the estimate can be trusted; if not, why, and in words.
        T_odom_camera: (4, 4) pose of the camera in the optical odom frame, or None.
        T_prev_curr: (4, 4) newest increment as integrated, or None.
        dt_ns: time between the two frames of ``T_prev_curr``, or 0.
        covariance: (6, 6) of the pose: x, y, z, rotation about x, y, z, in optical axes.
        motion_covariance: (6, 6) of ``T_prev_curr``, in the axes of the older camera.
        depth: (h, w) float32, scaled, NaN if invalid, or None.
        depth_uncertainty: (h, w) float32, relative standard deviation of the depth, NaN where
            that is; None if the depth is the network's alone.
        network_depth: (h, w) float32, the network's alone, scaled, NaN if invalid, or None.
        depth_intrinsics, rgb: calibration and image (h, w, 3) of the depth grid, or None.
        scale: unit of translation and depth, and its source.
        timings_ns: duration of each stage of the step, by name.
    """

    stamp_ns: int
    frame_id: str
    status: TrackingStatus
    reasons: tuple[Reason, ...] = ()
    note: str = ""
    T_odom_camera: FloatArray | None = None
    T_prev_curr: FloatArray | None = None
    dt_ns: int = 0
    covariance: FloatArray = field(default_factory=lambda: np.zeros((6, 6)))
    motion_covariance: FloatArray = field(default_factory=lambda: np.zeros((6, 6)))
    depth: DepthMap | None = None
    depth_uncertainty: DepthMap | None = None
    network_depth: DepthMap | None = None
    depth_intrinsics: CameraIntrinsics | None = None
    rgb: RgbImage | None = None
    scale: ScaleState = field(default_factory=ScaleState)
    timings_ns: dict[str, int] = field(default_factory=dict)
