"""The moving image of the README: what it shows, and that it is small enough for a page."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from bundles import MakeBundle, tilted_wall
from documentation.scripts import load_script
from small_bags import SmallSequence

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import OdometryEstimate, TrackingStatus
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.ground_truth import FrameGroundTruth
from sfm_ros.evaluation.runs.inputs import EvaluationInput
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import make_transform
from sfm_ros.safety.interrupts import INTERRUPTED

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


@pytest.fixture
def small_input(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> SmallSequence:
    """What is opened, whatever is named."""
    sequence = SmallSequence()
    frames = FrameGroundTruth(sequence, "none")
    given = EvaluationInput(name="a sequence", source=frames, ground_truth=frames)
    monkeypatch.setattr(script, "open_input", lambda options: given)
    return sequence


def arguments(make_bundle: MakeBundle, out: Path) -> list[str]:
    bundle = make_bundle(tilted_wall(), make_transform(np.eye(3), np.array([0.0, 0.0, 1.0])))
    return ["--model", str(bundle), "--threads", "1", "--out", str(out)]


def test_the_file_has_every_second_frame(
    script: ModuleType, small_input: SmallSequence, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    out = tmp_path / "drawn.webp"
    assert script.main(arguments(make_bundle, out)) == 0
    with Image.open(out) as image:
        assert 2 <= image.n_frames <= len(small_input) / 2
        image.load()
        assert image.info["duration"] == pytest.approx(200, abs=1)


def test_an_interrupted_run_writes_nothing(
    script: ModuleType,
    small_input: SmallSequence,
    make_bundle: MakeBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "drawn.webp"
    out.write_text("of an earlier run")
    add = script.Drawn.add

    def interrupted(self: object, *frame: object) -> None:
        add(self, *frame)
        if len(self.panels) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(script.Drawn, "add", interrupted)
    assert script.main(arguments(make_bundle, out)) == INTERRUPTED
    assert out.read_text() == "of an earlier run"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--step", "0"], "--step is 0, expected at least 1"),
        (["--frames", "1"], "--frames is 1, expected at least 2"),
        (["--quality", "101"], "--quality is 101, expected 0 to 100"),
        (["--out", "drawn.png"], "--out is drawn.png, expected a file .webp"),
        (["--out", "a.webp", "--video", "a.webp"], "--out a.webp is an input, too"),
    ],
)
def test_options_are_checked_before_the_run(
    script: ModuleType, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert script.main(options) == 1
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "bundle"),
    [(["--kitti", "."], "kitti"), (["--kitti", ".", "--model", "mine"], "mine"), ([], "default")],
)
def test_folders_of_kitti_get_its_model(
    script: ModuleType,
    small_input: SmallSequence,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    bundle: str,
) -> None:
    taken = []

    def run(given: EvaluationInput, config: SfmConfig, frames: int) -> None:
        taken.append(config.model.bundle)
        raise SourceError("enough is known")

    monkeypatch.setattr(script, "run", run)
    assert script.main(options) == 1
    assert taken == [bundle]


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
