"""Which drives, cameras and frames of KITTI are prepared, on a small tree in its layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.evaluation.depth.splits import frames_of_split
from training import prepare
from training.data.sequence import PreparedSet

DAY = "2011_09_26"
PLAIN, STATIC, TEST = (f"{DAY}_drive_{n}_sync" for n in ("0001", "0017", "0002"))
COUNTS = {PLAIN: 6, STATIC: 42, TEST: 5}
CALIBRATION = "".join(
    f"S_rect_0{c}: 96 32\nP_rect_0{c}: {48 + c} 0 47 0 0 {48 + c} 15 0 0 0 1 0\n" for c in (2, 3)
)


def write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(list(str(folder).encode()))
    for index in range(count):
        image = rng.integers(0, 255, (32, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:010d}.png"), image)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three drives of a day, two color cameras each."""
    root = tmp_path / "raw"
    for drive, count in COUNTS.items():
        for camera in ("image_02", "image_03"):
            write_images(root / DAY / drive / camera / "data", count)
    (root / DAY / "calib_cam_to_cam.txt").write_text(CALIBRATION)
    return root


def run(root: Path, out: Path, *more: str) -> int:
    size = ("--width", "64", "--height", "32", "--no-report")
    return prepare.main(["kitti", str(out), "--root", str(root), *size, *more])


def counts(out: Path) -> dict[str, int]:
    total: dict[str, int] = {}
    for record in PreparedSet.open(out).sequences:
        name = record.source.split("/")[-1]
        total[name] = total.get(name, 0) + record.count
    return total


def test_test_drives_and_static_frames_are_left_out(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raw, tmp_path / "set") == 0
    kept = COUNTS[STATIC] - len([n for n in frames_of_split("static")[STATIC] if n < 42])
    assert kept == 4
    assert counts(tmp_path / "set") == {PLAIN: 6, STATIC: kept}
    assert TEST in capsys.readouterr().out

    assert run(raw, tmp_path / "all", "--hold-out", "none", "--keep-static") == 0
    assert counts(tmp_path / "all") == COUNTS


def test_dropped_frames_leave_a_gap_in_time(raw: Path, tmp_path: Path) -> None:
    """Frames 2, 3 and 38, 39 are kept: with 3.5 seconds between them."""
    assert run(raw / DAY / STATIC, tmp_path / "set") == 0
    records = PreparedSet.open(tmp_path / "set").sequences
    assert [r.stamps_ns for r in records] == [
        (200_000_000, 300_000_000),
        (3_800_000_000, 3_900_000_000),
    ]


def test_both_color_cameras(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "set", "--camera", "2,3", "--jobs", "2") == 0
    prepared = PreparedSet.open(tmp_path / "set")
    plain = {r.source.split()[-1]: r for r in prepared.sequences if PLAIN in r.source}
    assert sorted(plain) == ["2", "3"]
    assert plain["3"].K[0] / plain["2"].K[0] == pytest.approx(51 / 50)
    first = [prepared.frames[record.start] for record in plain.values()]
    assert not np.array_equal(*first)


def test_frames_of_a_split(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path / "test", "--split", "eigen") == 0
    assert counts(tmp_path / "test") == {TEST: 2}
    assert run(raw, tmp_path / "zhou", "--split", "zhou") == 0
    assert counts(tmp_path / "zhou") == {PLAIN: 5, STATIC: 4}


def test_parts_of_a_split_make_its_whole(raw: Path, tmp_path: Path) -> None:
    """Frame by frame and camera by camera; Zhou's list starts with frame 1 of this drive."""
    drive = raw / DAY / PLAIN
    number = 30
    for camera in ("image_02", "image_03"):
        for index in range(COUNTS[PLAIN], number):
            data = drive / camera / "data"
            (data / f"{index:010d}.png").write_bytes((data / f"{0:010d}.png").read_bytes())
    stamps: dict[tuple[str, str], set[int]] = {}
    for part in ("zhou_train", "zhou_val", "zhou"):
        assert run(drive, tmp_path / part, "--split", part, "--camera", "2,3") == 0
        for record in PreparedSet.open(tmp_path / part).sequences:
            stamps.setdefault((part, record.source[-1]), set()).update(record.stamps_ns)
    for camera in ("2", "3"):
        train, val = stamps["zhou_train", camera], stamps["zhou_val", camera]
        assert not train & val
        assert train | val == stamps["zhou", camera]
        assert val == {
            n * 10**8 for n in frames_of_split("zhou_val", int(camera))[PLAIN] if n < number
        }


def test_missing_calibration_leaves_out_its_day(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "2011_09_28"
    write_images(raw / other / f"{other}_drive_0001_sync" / "image_02" / "data", 20)
    assert run(raw, tmp_path / "set") == 1
    error = capsys.readouterr().err
    assert f"{other}/calib_cam_to_cam.txt" in error and "Traceback" not in error
    assert counts(tmp_path / "set") == {PLAIN: 6, STATIC: 4}


def test_odometry_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "sequences"
    for name in ("03", "04", "09"):
        write_images(root / name / "image_2", 4)
        (root / name / "calib.txt").write_text("P2: 50 0 47 0 0 50 15 0 0 0 1 0\n")
    assert run(root, tmp_path / "auto") == 0
    assert counts(tmp_path / "auto") == {"03": 4, "04": 4}
    # Sequence 04 was cut from a drive of Eigen's test frames.
    assert run(root, tmp_path / "both", "--hold-out", "both") == 0
    assert counts(tmp_path / "both") == {"03": 4}
    assert run(root / "09", tmp_path / "none") == 1
    assert "--hold-out" in capsys.readouterr().err


def test_calibration_and_poses_of_real_data(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "kitti_odom03_head"
    command = ["kitti", str(tmp_path), "--root", str(root), "--limit", "5", "--no-report"]
    assert prepare.main(command) == 0
    (record,) = PreparedSet.open(tmp_path).sequences
    scale = 128 / 375
    x = 609.5593 + 0.5 - 416 / scale / 2
    assert record.K[0] == pytest.approx(721.5377 * scale, rel=1e-4)
    assert record.K[2] == pytest.approx((609.5593 + 0.5 - x) * scale - 0.5, abs=1e-2)
    assert record.poses is not None
    rows = (root / "poses.txt").read_text().splitlines()[:5]
    ground_truth = np.array([row.split() for row in rows], dtype=float).reshape(5, 3, 4)
    np.testing.assert_allclose(record.poses[:, :3], ground_truth, atol=1e-9)
