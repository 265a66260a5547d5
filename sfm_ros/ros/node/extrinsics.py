"""Which body the odometry is about: the robot, where TF knows the camera's place on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sfm_ros.datatypes import FloatArray, body_frame_name
from sfm_ros.ros.compat import Lookup
from sfm_ros.ros.conversions import T_BODY_OPTICAL

_POLL_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Extrinsics:
    """A body and the camera on it.

    Attributes:
        child: name of the body's frame, the child of odom.
        optical_frame: name of the camera's optical frame.
        T_body_camera: (4, 4) points of the camera's optical frame into the body frame.
        is_known: whether TF gave it; else the body is the camera itself, in body axes.
        is_ours_to_tell: whether nobody else places the optical frame, so that this node hangs it
            below the body.
    """

    child: str
    optical_frame: str
    T_body_camera: FloatArray
    is_known: bool
    is_ours_to_tell: bool = False


class ExtrinsicsLookup:
    """Looks a camera's extrinsics up once, when its first image arrives.

    Where TF connects the base frame with the camera's optical frame, the body is the robot. Where
    it does not, nothing is invented: the body is the camera itself with body axes, under a name of
    its own.

    Until then it listens to TF, and not a moment longer: a robot's TF is busy.
    """

    def __init__(
        self,
        make_lookup: Callable[[], Lookup | None],
        base_frame: str,
        wait_s: float,
        say: Callable[[str], object],
    ) -> None:
        """Begin to listen.

        Args:
            make_lookup: starts to listen to TF; None without TF.
            base_frame: the robot's frame; empty for none.
            wait_s: how long the first image of a camera waits for TF.
            say: logs one line.
        """
        self._make_lookup = make_lookup
        self._lookup = make_lookup()
        self._base_frame = base_frame
        self._wait_s = wait_s
        self._say = say
        self._found: dict[str, Extrinsics] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End a wait that is under way."""
        self._stopping.set()

    def resume(self) -> None:
        """After :meth:`stop`: mountings may be looked up again."""
        self._stopping.clear()

    def of(self, optical_frame: str) -> Extrinsics | None:
        """The extrinsics of a camera, decided at the first call.

        None where :meth:`stop` ends the wait for TF: nothing is decided then.
        """
        if optical_frame not in self._found:
            self._lookup = self._lookup or self._make_lookup()
            T_base_camera = self._wait_for_tf(optical_frame, self._lookup)
            if T_base_camera is None and self._stopping.is_set():
                return None
            self._found[optical_frame] = self._decide(optical_frame, T_base_camera, self._lookup)
            if self._lookup is not None:
                self._lookup.close()
                self._lookup = None
        return self._found[optical_frame]

    def _decide(
        self, optical_frame: str, T_base_camera: FloatArray | None, lookup: Lookup | None
    ) -> Extrinsics:
        if T_base_camera is not None:
            self._say(f"odometry of '{self._base_frame}': TF knows '{optical_frame}' on it")
            return Extrinsics(
                child=self._base_frame,
                optical_frame=optical_frame,
                T_body_camera=T_base_camera,
                is_known=True,
            )
        child = body_frame_name(optical_frame)
        self._say(
            f"odometry of '{child}', the camera in body axes: TF does not connect "
            f"'{self._base_frame}' with '{optical_frame}'; to get the robot's odometry publish "
            "that transform, or name the robot's frame in node.base_frame, and start again"
        )
        return Extrinsics(
            child=child,
            optical_frame=optical_frame,
            T_body_camera=T_BODY_OPTICAL,
            is_known=False,
            is_ours_to_tell=lookup is not None and not lookup.has_parent(optical_frame),
        )

    def _wait_for_tf(self, optical_frame: str, lookup: Lookup | None) -> FloatArray | None:
        # An image that calls its own frame the base frame says nothing about an extrinsics.
        if lookup is None or self._base_frame in ("", optical_frame):
            return None
        deadline = time.monotonic() + self._wait_s
        while True:
            found = lookup.find(self._base_frame, optical_frame)
            if found is not None or time.monotonic() >= deadline:
                return found
            if self._stopping.wait(_POLL_S):
                return None
