"""What a precision costs: errors of a known size are found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import tilted_wall, write_bundle

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.evaluation.runs import precision_loss
from sfm_ros.evaluation.runs.precision_loss import (
    Exam,
    ExamResult,
    compare,
    make_exam,
    take_exam,
    with_measured_losses,
)
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.model_spec import ModelSpec
from sfm_ros.source import SourceItem
from sfm_ros.window import Window

WIDTH, HEIGHT = 64, 32
SPEC = fake_spec(WIDTH, HEIGHT, sequence_length=2)


@pytest.fixture(scope="module")
def exam() -> Exam:
    return make_exam(SPEC, seeds=(9201,), frames=2, street_frames=0)


def engine_of(exam: Exam, factor: float, metric: bool = True) -> FakeEngine:
    """Predicts the exact depth, and beyond it 80 m, times a factor."""
    known = {id(item.frame.rgb): item.depth_m for item in exam.depth}

    def depth(window: Window) -> DepthMap:
        exact = known[id(window.images[-1])]
        assert exact is not None
        return np.where(exact > 0, exact, 80.0).astype(np.float32) * np.float32(factor)

    return FakeEngine(spec=dataclasses.replace(SPEC, metric=metric), depth=depth)


def test_depth_is_compared_with_and_without_scaling(exam: Exam) -> None:
    assert [item.frame.rgb.shape for item in exam.depth] == [(HEIGHT, WIDTH, 3)] * 2
    exact = take_exam(engine_of(exam, 1.0), exam)
    assert exact.abs_rel == {"median": 0.0, "none": 0.0} and exact.t_err_percent == {}
    longer = take_exam(engine_of(exam, 0.9), exam)
    assert longer.abs_rel["none"] == pytest.approx(0.1, abs=1e-6)
    assert longer.abs_rel["median"] == pytest.approx(0.0, abs=1e-6)
    assert list(take_exam(engine_of(exam, 0.9, metric=False), exam).abs_rel) == ["median"]


def test_worst_change_counts() -> None:
    depth = np.full((2, 3), 10.0, np.float32)
    reference = ExamResult(
        abs_rel={"median": 0.10, "none": 0.20}, t_err_percent={"a": 2.0, "b": 1.0}, depths=[depth]
    )
    found = ExamResult(
        abs_rel={"median": 0.10, "none": 0.202},
        t_err_percent={"a": 1.9, "b": 1.03},
        depths=[depth * np.array([[1.0, 1.0, 1.01], [0.99, 0.98, 1.0]], np.float32)],
    )
    metrics = compare(found, reference)
    assert metrics["abs_rel_change"] == pytest.approx(0.01)
    assert metrics["t_err_change"] == pytest.approx(0.03)
    assert metrics["depth_difference_median"] == pytest.approx(0.005, abs=1e-6)
    assert metrics["depth_difference_p95"] == pytest.approx(0.0175, abs=1e-5)
    alone = dataclasses.replace(reference, t_err_percent={})
    assert "t_err_change" not in compare(alone, alone)


class StraightDrive:
    """160 m in steps of 2 m; the images are smooth and change."""

    name = "straight"

    def __len__(self) -> int:
        return 81

    def __iter__(self) -> Iterator[SourceItem]:
        camera = CameraIntrinsics(width=WIDTH, height=HEIGHT, fx=40, fy=40, cx=31.5, cy=15.5)
        coarse = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
        rgb = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for index in range(len(self)):
            frame = Frame(
                stamp_ns=index * 100_000_000, rgb=np.roll(rgb, index, axis=1), intrinsics=camera
            )
            pose = make_transform(np.eye(3), [0.0, 0.0, 2.0 * index])
            yield SourceItem(frame=frame, T_world_camera=pose)


def test_odometry_is_scored(monkeypatch: pytest.MonkeyPatch, exam: Exam) -> None:
    monkeypatch.setattr(precision_loss, "_MODES", {"network": "7dof"})
    exam = Exam(depth=exam.depth[:1], sequences=[StraightDrive()])
    forward = make_transform(np.eye(3), [0.0, 0.0, 2.0])
    exact = take_exam(FakeEngine(spec=SPEC, motion=forward), exam)
    assert exact.t_err_percent["straight, network"] == pytest.approx(0.0, abs=1e-6)
    turning = make_transform(so3_exp([0.0, 0.002, 0.0]), [0.0, 0.0, 2.0])
    curve = take_exam(FakeEngine(spec=SPEC, motion=turning), exam)
    assert curve.t_err_percent["straight, network"] > 1.0


def test_metrics_are_written_beside_the_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variant that is a copy of the FP32 graphs costs nothing."""
    bundle = write_bundle(tmp_path / "net", tilted_wall(), np.eye(4))
    spec = ModelSpec.load(bundle)
    spec = dataclasses.replace(spec, variants={"fp16": spec.graphs()})
    exam = make_exam(spec, seeds=(9202,), frames=1, street_frames=0)
    measured = with_measured_losses(bundle, spec, ["fp16"], exam).save(bundle)
    assert measured.graphs("fp16").metrics == {
        "abs_rel_change": 0.0, "depth_difference_median": 0.0, "depth_difference_p95": 0.0,
    }  # fmt: skip
    assert ModelSpec.load(bundle).graphs("fp16").loss is None  # t_err was not measured
    monkeypatch.setattr(precision_loss, "take_exam", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        with_measured_losses(bundle, spec, ["fp16"], exam)
