"""Length of the steps by each source, over points of a street whose size is known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from corridor import HEIGHT_M, ahead, depth_map
from point_scenes import street_pairs

from sfm_ros.config import ScaleConfig
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Reason, ScaleSource
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.motion.metric_scale import SYSTEMATIC, MetricScale, PredictedDepth
from sfm_ros.motion.tracker import TrackedPair
from sfm_ros.motion.two_view import TwoView, estimate_two_view

GRID = CameraIntrinsics(width=208, height=64, fx=112.0, fy=112.0, cx=103.5, cy=31.5)
STEPS_M = 0.8 + 0.3 * np.sin(0.3 * np.arange(30))
DT_NS = 100_000_000


@cache
def drive() -> list[tuple]:
    """Motion and tracks of each step."""
    return list(street_pairs(ahead(STEPS_M.tolist()), np.random.default_rng(0)))


@cache
def predicted(index: int, factor: float) -> PredictedDepth:
    """Depth of the frame after a step, in network units that are ``factor`` times too small."""
    pose = ahead(STEPS_M.tolist())[index + 1]
    return PredictedDepth(depth=depth_map(pose, GRID) / np.float32(factor), camera=GRID)


def scale(metric: bool = False, **options: Any) -> MetricScale:
    return MetricScale(ScaleConfig(**options), fake_spec(metric=metric))


def lengths(
    metric_scale: MetricScale, speeds: FloatArray | None = None, factor: float = 0.0
) -> FloatArray:
    """(30,) length of each step, NaN while unknown; with predicted depth if there is a factor."""
    found = []
    for index, (view, pair) in enumerate(drive()):
        stamp_ns = (index + 1) * DT_NS
        if speeds is not None:
            metric_scale.add_speed(stamp_ns - DT_NS // 2, float(speeds[index]))
        depth = predicted(index, factor) if factor else None
        metric_scale.update(view, pair, depth, stamp_ns)
        found.append(math.nan if metric_scale.length is None else metric_scale.length)
    return np.array(found)


def standing(pair: TrackedPair) -> tuple[TwoView, TrackedPair]:
    """The pair of a camera that has stopped where another pair ends, and its motion."""
    pair = replace(pair, rays_prev=pair.rays_curr)
    view = estimate_two_view(pair.rays_prev, pair.rays_curr, pair.focal_px, [])
    assert view.is_still
    return view, pair


def ratio(found: FloatArray) -> float:
    """Length of the last ten steps over the true one."""
    return float(np.sum(found[-10:]) / np.sum(STEPS_M[-10:]))


def test_camera_height() -> None:
    by_height = scale(camera_height=HEIGHT_M)
    found = lengths(by_height)
    print(f"lengths over the true ones: {ratio(found):.4f}, sigma {by_height.state.sigma:.3f}")
    assert ratio(found) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(found[-10:] / STEPS_M[-10:], 1.0, atol=0.04)
    assert by_height.state.source is ScaleSource.CAMERA_HEIGHT
    assert SYSTEMATIC[ScaleSource.CAMERA_HEIGHT] < by_height.state.sigma < 0.1
    assert by_height.state.age_s == 0.0
    assert by_height.reasons() == []


@pytest.mark.parametrize("error", [-0.05, 0.05])
def test_wrong_height_makes_lengths_wrong_by_the_same_factor(error: float) -> None:
    right, wrong = scale(), scale()
    right.set_camera_height(HEIGHT_M)
    wrong.set_camera_height(HEIGHT_M * (1 + error))
    by_right, by_wrong = lengths(right), lengths(wrong)
    np.testing.assert_allclose(by_wrong / by_right, 1 + error, rtol=1e-6)


def test_configured_height_counts_more_than_a_stated_one() -> None:
    configured = scale(camera_height=HEIGHT_M)
    configured.set_camera_height(5.0)
    assert ratio(lengths(configured)) == pytest.approx(1.0, abs=0.02)


def test_external_speed() -> None:
    external = scale(external=True)
    found = lengths(external, speeds=STEPS_M / 0.1)
    assert ratio(found) == pytest.approx(1.0, abs=0.01)
    assert external.state.source is ScaleSource.EXTERNAL and external.reasons() == []


def test_sign_of_the_speed_does_not_matter_and_nan_is_ignored() -> None:
    external = scale()
    external.add_speed(0, math.nan)
    assert external.source is ScaleSource.UNKNOWN
    assert ratio(lengths(external, speeds=-STEPS_M / 0.1)) == pytest.approx(1.0, abs=0.01)


def test_speed_that_stops_arriving_is_reported_and_bridged_by_tracks() -> None:
    external = scale(external=True, max_age_s=0.8)
    for index, (view, pair) in enumerate(drive()):
        if index < 15:
            external.add_speed((index + 1) * DT_NS - DT_NS // 2, STEPS_M[index] / 0.1)
        external.update(view, pair, None, (index + 1) * DT_NS)
    assert external.reasons() == [Reason.SCALE_STALE]
    assert external.state.age_s == pytest.approx(1.0, abs=0.2)
    assert external.length == pytest.approx(STEPS_M[-1], rel=0.05)


def without_speed_from_step_15(tracks_are_lost: bool) -> float:
    """The last length over the true one; predicted depth is twice too far from then on."""
    external = scale(external=True)
    for index, (view, pair) in enumerate(drive()):
        stamp_ns = (index + 1) * DT_NS
        if index < 15:
            external.add_speed(stamp_ns - DT_NS // 2, STEPS_M[index] / 0.1)
        else:
            stamp_ns += 10**12  # the last speed is too old
        if index == 15 and tracks_are_lost:
            external.restart()
        depth = predicted(index, 1.0 if index < 15 else 0.5)
        external.update(view, pair, depth, stamp_ns)
    assert external.length is not None
    return external.length / STEPS_M[-1]


def test_length_that_tracks_carry_is_left_alone_by_predicted_depth() -> None:
    assert without_speed_from_step_15(tracks_are_lost=False) == pytest.approx(1.0, abs=0.02)


def test_predicted_depth_gives_the_length_that_lost_tracks_carry_no_more() -> None:
    assert without_speed_from_step_15(tracks_are_lost=True) == pytest.approx(2.0, rel=0.06)


def test_correction_reaches_the_depths_of_the_tracks() -> None:
    """A speed that was 8 % too high at first; later the tracks alone carry the right one."""
    external = scale(external=True)
    for index, (view, pair) in enumerate(drive()):
        if index < 14:
            speed = STEPS_M[index] / 0.1 * (1.08 if index < 4 else 1.0)
            external.add_speed((index + 1) * DT_NS - DT_NS // 2, speed)
        stamp_ns = (index + 1) * DT_NS if index < 14 else 10**12 + index
        external.update(view, pair, None, stamp_ns)
    assert external.length == pytest.approx(STEPS_M[-1], rel=0.02)


def test_metric_model() -> None:
    model = scale(metric=True)
    found = lengths(model, factor=1.0)
    assert model.state.source is ScaleSource.MODEL and model.state.value == 1.0
    assert ratio(found) == pytest.approx(1.0, abs=0.05)
    assert model.reasons() == []


def test_fixed_factor() -> None:
    """Network units are half a meter."""
    fixed = scale(source="fixed", factor=0.5)
    assert ratio(lengths(fixed, factor=0.5)) == pytest.approx(1.0, abs=0.05)
    assert fixed.state.source is ScaleSource.FIXED and fixed.state.value == 0.5


def test_factor_of_depth_is_learned_from_the_height() -> None:
    """The networks' unit is 3 meters: depth must be multiplied by 3."""
    by_height = scale(camera_height=HEIGHT_M)
    found = lengths(by_height, factor=3.0)
    assert ratio(found) == pytest.approx(1.0, abs=0.02)
    assert by_height.state.value == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize(
    ("factor", "published"), [(1.15, 1.0), (0.9, 1.0), (3.0, 2.5), (0.5, 0.6)]
)
def test_network_that_knows_the_height_is_corrected_by_what_is_beyond_its_accuracy(
    factor: float, published: float
) -> None:
    spec = replace(fake_spec(metric=True), canonical_height_m=1.65)
    by_height = MetricScale(ScaleConfig(camera_height=HEIGHT_M), spec)
    assert ratio(lengths(by_height, factor=factor)) == pytest.approx(1.0, abs=0.02)
    assert by_height.state.value == pytest.approx(published, rel=0.06)


def test_without_a_source_lengths_are_network_units() -> None:
    without = scale(source="none", camera_height=HEIGHT_M)
    found = lengths(without, factor=2.0)
    assert ratio(found) == pytest.approx(1 / 2.0, rel=0.05)
    assert without.state.source is ScaleSource.UNKNOWN and without.state.value == 1.0
    assert without.reasons() == [Reason.SCALE_UNKNOWN]


def test_without_source_and_networks_the_first_step_is_the_unit() -> None:
    found = lengths(scale(source="none"))
    np.testing.assert_allclose(found / STEPS_M * STEPS_M[0], 1.0, rtol=0.05)


def test_automatic_choice() -> None:
    nothing = scale()
    assert nothing.source is ScaleSource.UNKNOWN
    model = scale(metric=True)
    assert model.source is ScaleSource.MODEL
    model.add_speed(0, 3.0)
    assert model.source is ScaleSource.EXTERNAL
    model.set_camera_height(1.5)
    assert model.source is ScaleSource.CAMERA_HEIGHT
    assert scale(metric=True, external=True).source is ScaleSource.EXTERNAL
    assert scale(metric=True, source="fixed").source is ScaleSource.FIXED
    assert scale(metric=True, source="camera_height").source is ScaleSource.UNKNOWN
    assert scale(metric=True, source="none").source is ScaleSource.UNKNOWN


def test_evidence_is_what_a_step_was_measured_by() -> None:
    by_height = scale(camera_height=HEIGHT_M)
    ratios, measured = [], []
    for index, (view, pair) in enumerate(drive()):
        by_height.update(view, pair, None, (index + 1) * DT_NS)
        evidence = by_height.evidence
        assert evidence is not None
        assert (evidence.log_ratio is None) == (index == 0)
        ratios.append(math.nan if evidence.log_ratio is None else evidence.log_ratio[0])
        measured.append(math.nan if evidence.measured is None else evidence.measured.log_length)
    expected = np.diff(np.log(STEPS_M), prepend=math.nan)
    assert np.nanstd(np.array(ratios) - expected) < 0.03
    assert np.nanmedian(np.array(measured) - np.log(STEPS_M)) == pytest.approx(0, abs=0.03)
    by_height.stop(*standing(drive()[-1][1]))
    assert by_height.evidence is None


def test_standstill_learns_nothing() -> None:
    """However long it lasts, the tracks still give the next step its length."""
    by_height = scale(camera_height=HEIGHT_M)
    lengths(by_height)
    length, state = by_height.length, by_height.state
    for _ in range(20):
        by_height.stop(*standing(drive()[-1][1]))
    assert by_height.length == length
    assert by_height.state == replace(state, age_s=pytest.approx(20 * 0.1))
    assert by_height.reasons() == []


def test_depths_of_the_tracks_outlast_a_standstill() -> None:
    """After it, the next step gets its length from the tracks alone."""
    external = scale(external=True)
    for index, (view, pair) in enumerate(drive()[:20]):
        external.add_speed((index + 1) * DT_NS - DT_NS // 2, STEPS_M[index] / 0.1)
        external.update(view, pair, None, (index + 1) * DT_NS)
    external.stop(*standing(pair))
    view, pair = drive()[20]
    external.update(view, pair, None, 10**12)  # long after the last speed
    assert external.length is not None
    assert external.length == pytest.approx(STEPS_M[20], rel=0.03)


def test_reset_forgets_the_lengths_but_not_the_height() -> None:
    by_height = scale()
    by_height.set_camera_height(HEIGHT_M)
    lengths(by_height)
    by_height.reset()
    assert by_height.length is None and by_height.source is ScaleSource.CAMERA_HEIGHT
    assert ratio(lengths(by_height)) == pytest.approx(1.0, abs=0.02)


def test_height_that_comes_late_defines_the_unit_at_once() -> None:
    late = scale()
    assert ratio(lengths(late, factor=20.0)) == pytest.approx(1 / 20.0, rel=0.1)
    late.set_camera_height(HEIGHT_M)
    found = lengths(late, factor=20.0)
    assert found[3] / STEPS_M[3] == pytest.approx(1.0, abs=0.1)
    assert ratio(found) == pytest.approx(1.0, abs=0.03)
    assert late.state.value == pytest.approx(20.0, rel=0.1)


def test_height_that_comes_late_changes_the_unit_of_predicted_depth() -> None:
    """Of a model whose lengths are in proportion to the height, whatever defines the unit."""
    spec = replace(fake_spec(), canonical_height_m=1.65)
    for late, value in (
        (MetricScale(ScaleConfig(source="external"), spec), 1.0),
        (MetricScale(ScaleConfig(source="external"), fake_spec()), 2.0),
    ):
        lengths(late, speeds=STEPS_M / 0.1, factor=2.0)
        assert late.state.value == pytest.approx(2.0, rel=0.1)
        late.set_camera_height(HEIGHT_M)
        assert late.state.value == pytest.approx(value, rel=0.1)


@pytest.mark.parametrize("height_m", [math.inf, math.nan, 0.0, -1.0])
def test_height_that_is_none_is_ignored(height_m: float) -> None:
    by_height = scale()
    by_height.set_camera_height(HEIGHT_M)
    by_height.set_camera_height(height_m)
    assert ratio(lengths(by_height)) == pytest.approx(1.0, abs=0.02)


def test_speed_of_zero_is_a_standstill() -> None:
    external = scale(external=True)
    external.add_speed(10**9, 0.0)
    assert external.stands(10**9, 0.1) and not external.stands(10**10, 0.1)
    external.add_speed(2 * 10**9, 5.0)
    assert not external.stands(2 * 10**9, 0.1)
