"""Inverse depth from several views: scenes with a closed form, and motions without parallax."""

from __future__ import annotations

import numpy as np
import pytest
from view_scenes import Views, box_views, street_views

from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.multiview import measure
from sfm_ros.geometry import inverse, make_transform, so3_exp


def measured(scene: Views, factor: float = 1.0, **changes: object) -> InverseDepth:
    inputs = dict(
        target=scene.target,
        sources=scene.sources,
        T_source_target=scene.T_source_target,
        K=scene.K,
        prior=scene.prior(factor),
    )
    return measure(**{**inputs, **changes})  # type: ignore[arg-type]


def log_errors(found: InverseDepth, scene: Views) -> np.ndarray:
    return np.log(found.inv_depth * scene.depth)[found.valid]


@pytest.mark.parametrize("scene", [street_views(), street_views(1.0), box_views()])
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_a_known_scene_is_recovered_from_a_wrong_prior(scene: Views, factor: float) -> None:
    found = measured(scene, factor)
    errors = log_errors(found, scene)
    assert found.valid.mean() > 0.5
    assert np.median(np.abs(errors)) < 0.012
    assert abs(np.median(errors)) < 0.01
    assert np.mean(np.abs(errors) > 0.1) < 0.04


def test_gain_and_offset_of_an_exposure_cancel() -> None:
    scene = street_views()
    darker = [(0.7 * source + 12).astype(np.uint8) for source in scene.sources]
    errors = log_errors(measured(scene, sources=darker), scene)
    assert np.median(np.abs(errors)) < 0.015


def test_without_texture_nothing_is_valid() -> None:
    scene = street_views()
    noise = np.random.default_rng(0).normal(120, 1.0, (3, *scene.target.shape))
    target, *sources = noise.astype(np.uint8)
    assert measured(scene, target=target, sources=sources).valid.mean() < 0.02


@pytest.mark.parametrize("yaw_rad", [0.0, 0.05])
def test_without_translation_nothing_is_valid(yaw_rad: float) -> None:
    scene = street_views()
    turn = make_transform(so3_exp([0.0, yaw_rad, 0.0]), np.zeros(3))
    assert not measured(scene, T_source_target=[turn, turn]).valid.any()


def test_without_sources_or_prior_nothing_is_valid() -> None:
    scene = street_views()
    assert not measured(scene, sources=[], T_source_target=[]).valid.any()
    unknown = InverseDepth.from_depth(np.full_like(scene.depth, np.nan), 0.3)
    assert not measured(scene, prior=unknown).valid.any()


def test_nothing_is_measured_below_the_road() -> None:
    scene = street_views()
    everything = measured(scene)
    above = measured(scene, floor=1.5 * scene.floor)
    road = scene.floor * scene.depth > 0.99
    assert everything.valid[road].mean() > 0.2
    assert above.valid[road].mean() < 0.02


def test_a_wrong_direction_of_motion_leaves_little() -> None:
    scene = street_views()
    backwards = [inverse(T) for T in scene.T_source_target]
    assert measured(scene, T_source_target=backwards).valid.mean() < 0.1
