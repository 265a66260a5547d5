"""The real node in the room of `room.py`: ``python -m rig.room_node KIND --ros-args ...``.

Its depth network gives the ground-truth depth of the room at the pixels of the camera that its
input encodes.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from rig.room import Numbers, Optics, room_depth
from sfm_ros.datatypes import DepthMap
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.ros.node.node import SfmNode
from sfm_ros.ros.process import program
from sfm_ros.window import Window

GRID = (208, 64)
"""Of the networks."""
_TURN = 0.06
_R = np.array(
    [
        [np.cos(_TURN), 0.0, np.sin(_TURN)],
        [0.0, 1.0, 0.0],
        [-np.sin(_TURN), 0.0, np.cos(_TURN)],
    ]
)
_BARREL = (-0.28, 0.07, 1.1e-3, -7e-4, 0.0)
_FISHEYE = (-0.02, 0.006, -0.003, 0.0005)
_LENS = (12.0, 9.0, 2e-4, -3e-4, 0.4, 12.3, 10.4, 1.9)

CAMERAS = {
    "rectified": Optics(width=1242, height=375, K=(721.5, 719.0, 609.6, 172.9)),
    "rectified, of a pair": Optics(
        width=1242,
        height=375,
        K=(721.5, 721.5, 609.6, 172.9),
        P=(721.5, 721.5, 609.6, 172.9),
        baseline_px=-387.6,
    ),
    "rectified, with the distortion of the lens": Optics(
        width=640, height=480, K=(420.0, 424.0, 331.0, 229.0), D=_BARREL, R=_R,
        P=(380.0, 380.0, 310.0, 240.0), is_rectified=True,
    ),
    "plumb_bob": Optics(
        width=640, height=480, K=(420.0, 424.0, 331.0, 229.0), D=_BARREL,
        P=(370.0, 372.0, 322.0, 236.0),
    ),
    "plumb_bob, without P": Optics(
        width=640, height=480, K=(420.0, 424.0, 331.0, 229.0), D=_BARREL
    ),
    "plumb_bob, turned": Optics(
        width=640, height=480, K=(420.0, 424.0, 331.0, 229.0), D=_BARREL, R=_R,
        P=(380.0, 380.0, 310.0, 240.0),
    ),
    "rational_polynomial": Optics(
        width=640, height=480, K=(420.0, 424.0, 331.0, 229.0), model="rational_polynomial",
        D=_LENS, P=(400.0, 400.0, 325.0, 236.0),
    ),
    "equidistant": Optics(
        width=640, height=480, K=(285.0, 286.0, 322.0, 243.0), model="equidistant",
        D=_FISHEYE, P=(300.0, 300.0, 320.0, 240.0),
    ),
    "cropped, upright": Optics(width=480, height=640, K=(510.0, 510.0, 251.0, 290.0)),
    "cropped, center at the edge": Optics(
        width=800, height=600, K=(640.0, 640.0, 371.0, 95.0)
    ),
    "cropped, very wide": Optics(width=2000, height=240, K=(980.0, 980.0, 1100.0, 119.5)),
    "region of interest": Optics(
        width=1280, height=960, K=(840.0, 848.0, 662.0, 458.0), D=_BARREL,
        P=(760.0, 764.0, 650.0, 470.0), region=(210, 130, 800, 600),
    ),
    "binning": Optics(
        width=1280, height=960, K=(840.0, 848.0, 662.0, 458.0), D=_BARREL,
        P=(760.0, 764.0, 650.0, 470.0), binning=(2, 2),
    ),
    "region of interest and binning": Optics(
        width=1280, height=960, K=(840.0, 848.0, 662.0, 458.0), D=_BARREL,
        P=(760.0, 764.0, 650.0, 470.0), region=(210, 130, 800, 600), binning=(2, 4),
    ),
}  # fmt: skip


class RoomEngine(FakeEngine):
    """Reads which pixels of the camera it gets, and gives the depth of the room there."""

    def __init__(self, camera: Optics) -> None:
        super().__init__(fake_spec(*GRID), depth=self._depth_of)
        self._camera = camera
        self.positions: Numbers = np.zeros(0)
        self.shown: NDArray[np.bool_] = np.zeros(0, bool)

    def _depth_of(self, window: Window) -> DepthMap:
        """Two images of a window encode both axes, which alternate."""
        newest, before = window.images[-1], window.images[-2]
        # The one of x has the greater change of red along the rows.
        spread = [np.ptp(image[..., 0].mean(axis=0)) for image in (newest, before)]
        images = [newest, before] if spread[0] > spread[1] else [before, newest]
        self.positions, self.shown = self._camera.positions(images)
        somewhere = self._camera.project(np.array([0.0, 0.0, 1.0]))
        rays = self._camera.rays(np.where(self.shown[..., None], self.positions, somewhere))
        return np.where(self.shown, room_depth(rays), 1.0).astype(np.float32)


if __name__ == "__main__":
    sys.exit(program.run(lambda: SfmNode(RoomEngine(CAMERAS[sys.argv[1]])), sys.argv))
