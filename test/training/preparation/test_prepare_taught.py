"""prepare.py with a teacher, on a recording without ground truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training import prepare
from training.data.sequence import MOVING, SKY_DEPTH_M, PreparedSet
from training.preparation.set_statistics import measure
from training.preparation.teacher.teacher import Lesson, Teacher

COUNT = 12


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Arguments that name a folder of images and its calibration."""
    folder = tmp_path_factory.mktemp("recording")
    street = SyntheticStreet(
        SyntheticConfig(seed=3, kind="city", width=416, height=128, frames=COUNT)
    )
    (folder / "images").mkdir()
    for index, item in enumerate(street):
        file = folder / "images" / f"{index:06d}.png"
        cv2.imwrite(str(file), np.ascontiguousarray(item.frame.rgb[:, :, ::-1]))
    K = street.intrinsics.K
    (folder / "K.txt").write_text(" ".join(str(value) for value in K.ravel()))
    height = f"{street.camera_height_m:.3f}"
    return (
        "--images", str(folder / "images"), "--calib", str(folder / "K.txt"),
        "--width", "208", "--height", "64", "--camera-height", height,
    )  # fmt: skip


def taught(out: Path, recording: tuple[str, ...], *more: str) -> int:
    return prepare.main(["folder", str(out), *recording, "--teacher", "geometry", *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recording: tuple[str, ...]) -> PreparedSet:
    out = tmp_path_factory.mktemp("set") / "taught"
    assert taught(out, recording) == 0
    return PreparedSet.open(out)


def test_frames_get_depth_and_poses(whole: PreparedSet, recording: tuple[str, ...]) -> None:
    (record,) = whole.sequences
    assert record.count == COUNT
    assert record.has_depth
    assert f"{record.camera_height_m:.3f}" == recording[-1]
    assert record.poses is not None
    steps = np.linalg.norm(np.diff(record.poses[:, :3, 3], axis=0), axis=1)
    assert 0.3 < np.median(steps) < 1.2
    assert whole.depth_m is not None
    assert "teacher geometry" in record.provenance
    shares = measure(whole).depth
    assert shares is not None
    assert shares.known > 0.2
    report = (whole.path / "report.txt").read_text()
    assert f"depth: known for {shares.known:.0%} of the pixels, sky {shares.sky:.0%}" in report


def test_depth_is_one_of_what_the_format_names(whole: PreparedSet) -> None:
    assert whole.depth_m is not None
    depth = np.array(whole.depth_m, dtype=np.float32)
    labels = np.isin(depth, (0.0, MOVING, SKY_DEPTH_M))
    assert ((depth[~labels] > 0.5) & (depth[~labels] < 110.0)).all()


def test_an_interrupted_call_continues_to_the_same_set(
    tmp_path: Path,
    recording: tuple[str, ...],
    whole: PreparedSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Teacher.teach

    def interrupted(self: Teacher, index: int) -> Lesson | None:
        if index == 7:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr("training.preparation.writer.SAVE_EVERY", 3)
    monkeypatch.setattr(Teacher, "teach", interrupted)
    assert taught(tmp_path / "set", recording) == INTERRUPTED
    seen: list[int] = []

    def recorded(self: Teacher, index: int) -> Lesson | None:
        seen.append(index)
        return original(self, index)

    monkeypatch.setattr(Teacher, "teach", recorded)
    assert taught(tmp_path / "set", recording) == 0
    assert seen == list(range(6, COUNT))
    found = PreparedSet.open(tmp_path / "set")
    assert found.depth_m is not None
    assert whole.depth_m is not None
    assert np.array_equal(found.depth_m, whole.depth_m)
    assert np.array_equal(found.sequences[0].poses, whole.sequences[0].poses)


def test_without_a_camera_height_nothing_is_read(
    tmp_path: Path, recording: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert taught(tmp_path / "set", recording[:-2]) == 1
    assert "state it in meters with --camera-height" in capsys.readouterr().err


def test_ground_truth_is_kept(tmp_path: Path) -> None:
    sets = []
    for name, more in (("plain", ()), ("taught", ("--teacher", "geometry"))):
        out = tmp_path / name
        command = ["synthetic", str(out), "--seeds", "1", "--frames", "3", "--no-report", *more]
        assert prepare.main([*command, "--width", "96", "--height", "32"]) == 0
        sets.append(PreparedSet.open(out))
    plain, kept = sets
    assert np.array_equal(kept.depth_m, plain.depth_m)
    assert np.array_equal(kept.sequences[0].poses, plain.sequences[0].poses)


def test_a_height_that_is_none_is_refused(
    recording: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        taught(tmp_path, (*recording[:-1], "165"))
    assert "165 m is not 0.2 to 10 meters" in capsys.readouterr().err
