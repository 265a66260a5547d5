"""Which body the odometry describes: the robot, if TF connects the camera with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import FloatArray, body_frame_name
from sfm_ros.errors import ImageError
from sfm_ros.ros.conversions import T_BODY_OPTICAL
from sfm_ros.ros.node.rate_limit import BurstLimit
from sfm_ros.ros.tf_lookup import Lookup

_POLL_S = 0.01
_MAX_CAMERAS = 16
"""Frame ids of images; each has its extrinsics, its lines in the log and its frame on TF."""
_MOST_CORRECTIONS = 10
"""Of static transforms that are logged, per minute."""
_MAX_DISTANCE_M = 1000.0
"""Between a camera and the frame of its robot."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Extrinsics:
    """A body and the camera on it, at the time of an image.

    Attributes:
        child: name of the body's frame, the child of odom.
        optical_frame: name of the camera's optical frame.
        T_body_camera: (4, 4) points of the camera's optical frame into the body frame.
        is_known: whether TF gave it; else the body is the camera itself, in body axes.
        is_static: whether the camera never moves on the body. Another T_body_camera is then a
            correction, not a motion.
        publish_optical_frame: whether nothing else on TF has the optical frame as its child, so
            that this node publishes it below the body.
    """

    child: str
    optical_frame: str
    T_body_camera: FloatArray
    is_known: bool
    is_static: bool = True
    publish_optical_frame: bool = False


class ExtrinsicsLookup:
    """Looks up the extrinsics of a camera for each of its images.

    The body is decided at the first image, because odom cannot change its child later: the robot,
    if TF connects the base frame with the camera's optical frame; else nothing is invented, and
    the body is the camera itself with body axes, under a name of its own.

    The camera's place on the robot is read again for every image: at the image's stamp, or the
    newest if TF does not reach that far. TF is busy on a robot (200 messages per second with 20
    transforms each take 40 % of a core), so that /tf is unsubscribed once all transforms in
    question are static, and /tf_static too if the body is the camera itself.

    Attributes:
        lookup: what subscribes to TF now; None if nothing does.
    """

    def __init__(
        self,
        make_lookup: Callable[[], Lookup | None],
        base_frame: str,
        wait_s: float,
        log: Callable[[str], object],
        refuse: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Subscribe to TF.

        Args:
            make_lookup: subscribes to TF; None without TF.
            base_frame: the robot's frame; empty for none.
            wait_s: how long the first image of a camera waits for TF.
            log: logs one line.
            refuse: reports why a transform is not used.
        """
        self._make_lookup = make_lookup
        self.lookup = make_lookup()
        self._base_frame = base_frame
        self._wait_s = wait_s
        self._log, self._refuse = log, refuse
        self._corrections = BurstLimit(_MOST_CORRECTIONS)
        self._last: dict[str, Extrinsics] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End a wait that is under way."""
        self._stopping.set()

    def resume(self) -> None:
        """After :meth:`stop`: wait again if necessary."""
        self._stopping.clear()

    def close(self) -> None:
        """Unsubscribe from TF."""
        if self.lookup is not None:
            self.lookup.close()
            self.lookup = None

    def admit(self, optical_frame: str) -> None:
        """Check an image's frame before the image is used.

        Raises:
            ImageError: images of too many frames came before.
        """
        if optical_frame not in self._last and len(self._last) >= _MAX_CAMERAS:
            raise ImageError(
                f"the frame_id is '{optical_frame}', expected one of the {_MAX_CAMERAS} so far "
                f"({', '.join(list(self._last)[:3])}, ...): who else publishes on the topic of "
                "the images? To use other frames start the node again"
            )

    def at(self, optical_frame: str, stamp_ns: int) -> Extrinsics | None:
        """The extrinsics of a camera at the time of an image.

        None if :meth:`stop` ended the wait for TF: nothing is decided then.
        """
        last = self._last.get(optical_frame)
        found = (
            self._decide(optical_frame, stamp_ns) if last is None else self._update(last, stamp_ns)
        )
        if found is not None:
            self._last[optical_frame] = found
            if last is None:
                self._unsubscribe_from_what_is_not_needed()
        return found

    def _update(self, last: Extrinsics, stamp_ns: int) -> Extrinsics:
        T_base_camera = self._find(last.optical_frame, stamp_ns) if last.is_known else None
        if T_base_camera is None or np.array_equal(T_base_camera, last.T_body_camera):
            return last
        if last.is_static and self._corrections.admits():
            self._log(
                f"TF has another static transform from '{self._base_frame}' to "
                f"'{last.optical_frame}': the odometry continues from its pose with that one"
            )
        return replace(last, T_body_camera=T_base_camera)

    def _decide(self, optical_frame: str, stamp_ns: int) -> Extrinsics | None:
        if self._last:  # a second camera: TF may no longer be received in full
            self.close()
        self.lookup = self.lookup or self._make_lookup()
        T_base_camera = self._wait_for_tf(optical_frame, stamp_ns)
        if T_base_camera is not None:
            return self._of_robot(optical_frame, T_base_camera)
        return None if self._stopping.is_set() else self._of_camera(optical_frame)

    def _wait_for_tf(self, optical_frame: str, stamp_ns: int) -> FloatArray | None:
        # An image whose own frame is the base frame has no extrinsics.
        if self.lookup is None or self._base_frame in ("", optical_frame):
            return None
        deadline = time.monotonic() + self._wait_s
        while True:
            found = self._find(optical_frame, stamp_ns)
            if found is not None or time.monotonic() >= deadline:
                return found
            if self._stopping.wait(_POLL_S):
                return None

    def _find(self, optical_frame: str, stamp_ns: int) -> FloatArray | None:
        """(4, 4) T_base_camera at the stamp, or the newest; None if no robot is that large."""
        if self.lookup is None:
            return None
        found = self.lookup.find(self._base_frame, optical_frame, stamp_ns)
        if found is None:
            found = self.lookup.find(self._base_frame, optical_frame)
        if found is None or np.abs(found[:3, 3]).max() <= _MAX_DISTANCE_M:
            return found
        x, y, z = found[:3, 3]
        self._refuse(
            f"TF puts '{optical_frame}' at ({x:g}, {y:g}, {z:g}) m of '{self._base_frame}', "
            f"expected at most {_MAX_DISTANCE_M:g} m: it is not used"
        )
        return None

    def _of_robot(self, optical_frame: str, T_base_camera: FloatArray) -> Extrinsics:
        assert self.lookup is not None  # it gave the transform
        self._log(f"odometry of '{self._base_frame}': TF connects it with '{optical_frame}'")
        return Extrinsics(
            child=self._base_frame,
            optical_frame=optical_frame,
            T_body_camera=T_base_camera,
            is_known=True,
            is_static=self.lookup.is_static(self._base_frame, optical_frame),
        )

    def _of_camera(self, optical_frame: str) -> Extrinsics:
        child = body_frame_name(optical_frame)
        self._log(
            f"odometry of '{child}', the camera in body axes: TF does not connect "
            f"'{self._base_frame}' with '{optical_frame}'; to get the robot's odometry publish "
            "that transform, or set node.base_frame to the robot's frame, and start again"
        )
        return Extrinsics(
            child=child,
            optical_frame=optical_frame,
            T_body_camera=T_BODY_OPTICAL,
            is_known=False,
            publish_optical_frame=self.lookup is not None
            and not self.lookup.has_parent(optical_frame),
        )

    def _unsubscribe_from_what_is_not_needed(self) -> None:
        known = [extrinsics for extrinsics in self._last.values() if extrinsics.is_known]
        if not known:
            self.close()
        elif self.lookup is not None and all(extrinsics.is_static for extrinsics in known):
            self.lookup.ignore_moving()
