"""Inverse depth from several views: scenes with a closed form, and motions without parallax."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from streets import ground_truth, shared_street
from view_scenes import Views, box_views, mover_views, street_views

from sfm_ros.depth import kernels
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.multiview import measure
from sfm_ros.errors import ImageError
from sfm_ros.geometry import inverse, make_transform, so3_exp

STREETS = (("city", 1), ("city", 6), ("city", 14), ("traffic", 1), ("motorway", 6))


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
    assert np.median(np.abs(errors)) < 0.01
    assert abs(np.median(errors)) < 0.007
    assert np.mean(np.abs(errors) > 0.1) < 0.01


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


def test_images_of_other_sizes_are_refused() -> None:
    scene = street_views()
    smaller = [source[:100] for source in scene.sources]
    with pytest.raises(ImageError, match=r"the image is \(128, 416\), .*\(100, 416\)"):
        measured(scene, sources=smaller)
    tiny = InverseDepth.from_depth(np.ones((12, 40), np.float32), 0.3)
    with pytest.raises(ImageError, match="at least 16x16"):
        measured(scene, target=scene.target[:12, :40], sources=[], prior=tiny)


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
    assert measured(scene, T_source_target=backwards).valid.mean() < 0.03


@pytest.mark.parametrize(
    ("factor", "most_valid", "bias"), [(0.9, 0.4, 0.05), (1.1, 0.5, 0.06), (0.5, 0.1, None)]
)
def test_a_wrong_length_of_the_last_step_shows_in_what_is_valid(
    factor: float, most_valid: float, bias: float | None
) -> None:
    """The sources are one and three steps away, so that they contradict each other."""
    scene = street_views()
    wrong = [T.copy() for T in scene.T_source_target]
    for T in wrong:
        T[2, 3] += factor - 1
    found = measured(scene, T_source_target=wrong)
    assert found.valid.mean() < most_valid < 0.8 * measured(scene).valid.mean()
    if bias is not None:
        assert abs(np.median(log_errors(found, scene))) == pytest.approx(bias, abs=0.02)


@pytest.mark.parametrize(
    ("across_m", "ahead_m"), [(0.3, 0.0), (-0.5, 0.0), (0.0, 1.0), (0.0, -1.0)]
)
def test_what_moves_is_invalid(across_m: float, ahead_m: float) -> None:
    """But not what moves slowly along the path: it looks like something at another distance."""
    still, mask = mover_views(0.0, 0.0)
    assert measured(still).valid[mask].mean() > 0.8
    scene, mask = mover_views(across_m, ahead_m)
    assert measured(scene).valid[mask].mean() < 0.05


def test_an_executor_changes_nothing() -> None:
    scene = street_views()
    alone = measured(scene)
    with ThreadPoolExecutor(1) as executor:
        shared = measured(scene, executor=executor)
    for name in ("inv_depth", "sigma", "valid"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(shared, name))


def test_errors_on_rendered_streets_are_what_sigma_states() -> None:
    """The priors are wrong by 20 %, differently in each part of the image."""
    ratios = np.concatenate([_errors_in_sigmas(kind, seed) for kind, seed in STREETS])
    within = [float(np.mean(ratios < k)) for k in (1, 2)]
    print(f"{within[0]:.3f} within one standard deviation, {within[1]:.3f} within two")
    assert 0.6 < within[0] < 0.8
    assert within[1] > 0.88


def _errors_in_sigmas(kind: str, seed: int, index: int = 12) -> np.ndarray:
    street = shared_street(kind, seed)
    items = [street.render(i) for i in (index, index - 1, index - 3)]
    grays = [cv2.cvtColor(item.frame.rgb, cv2.COLOR_RGB2GRAY) for item in items]
    depth, pose = ground_truth(items[0])
    wrong = np.random.default_rng(seed).normal(0.0, 0.2, (5, 13))
    factor = np.exp(cv2.resize(wrong, depth.shape[::-1], interpolation=cv2.INTER_CUBIC))
    prior = InverseDepth.from_depth((depth * factor).astype(np.float32), 0.25)
    motions = [inverse(ground_truth(item)[1]) @ pose for item in items[1:]]
    found = measure(grays[0], grays[1:], motions, street.intrinsics.K, prior)
    known = found.valid & (depth < 80)
    errors = np.abs(np.log(found.inv_depth[known] * depth[known]))
    return errors / found.relative_sigma[known]


def test_without_a_folder_to_keep_them_the_loops_are_compiled_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def njit(**options: object) -> Callable[[object], object]:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels.numba, "njit", njit)
    assert kernels.compiled(len) is len
    assert [options.get("cache", False) for options in asked] == [True, False]
