"""The moving image of the README: what it shows, and that it is small enough for a page."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from documentation.scripts import load_script

from sfm_ros.datatypes import OdometryEstimate, TrackingStatus
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import make_transform

pytest.importorskip("PIL", reason="Pillow, which comes with matplotlib, is not installed")

from PIL import Image

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("moving_image")


def ahead(meters: float, right: float = 0.0) -> np.ndarray:
    return make_transform(np.eye(3), np.array([right, 0.0, meters]))


def estimate(index: int) -> OdometryEstimate:
    """A camera that moves ahead by 2 m per frame, before a wall at 10 m."""
    return OdometryEstimate(
        stamp_ns=index * 10**8,
        frame_id="eye",
        status=TrackingStatus.TRACKING,
        T_odom_camera=ahead(2.0 * index),
        depth=np.full((32, 104), 10.0, np.float32),
    )


def test_every_sheet_has_image_depth_and_path(script: ModuleType) -> None:
    drawn = script.Drawn()
    for index in range(6):
        drawn.add(np.full((32, 104, 3), 40 * index, np.uint8), estimate(index))
    poses = Trajectory(np.array(drawn.stamps_ns), np.stack([ahead(2.0 * i, i) for i in range(6)]))
    known = SimpleNamespace(trajectory=lambda stamps: SimpleNamespace(trajectory=poses))
    sheets = script.sheets(SimpleNamespace(ground_truth=known), drawn, 2)
    assert len(sheets) == 3 and len({sheet.shape for sheet in sheets}) == 1
    assert sheets[0].shape[1] == script.WIDTH + script.MAP
    path = [sheet[:, script.WIDTH :] for sheet in sheets]
    for color in (script.ESTIMATE, script.GROUND_TRUTH):
        drawn_pixels = [int(np.all(sheet == color, axis=-1).sum()) for sheet in path]
        assert drawn_pixels == sorted(set(drawn_pixels)), "the path grows"


def test_a_frame_without_depth_is_left_out(script: ModuleType) -> None:
    drawn = script.Drawn()
    drawn.add(np.zeros((32, 104, 3), np.uint8), OdometryEstimate(
        stamp_ns=0, frame_id="eye", status=TrackingStatus.INITIALIZING,
    ))  # fmt: skip
    assert drawn.panels == []


def test_shipped_image_moves_and_is_small(repository: Path) -> None:
    (name,) = [
        line.partition("(")[2].rstrip(")")
        for line in (repository / "README.md").read_text().splitlines()[:20]
        if line.startswith("![")
    ]
    path = repository / name
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as image:
        assert image.n_frames > 20 and image.info["loop"] == 0
