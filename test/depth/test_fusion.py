"""Depth of a moving camera, in a corridor of planes whose depth is known in closed form."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from sfm_ros.config import config_from_dict
from sfm_ros.datatypes import CameraIntrinsics, Reason, read_only
from sfm_ros.depth import filter_kernels, maps, road_kernels, state_kernels
from sfm_ros.depth import stage as stage_module
from sfm_ros.depth.fusion import DepthFusion, FusedDepth
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.propagation import PixelRays
from sfm_ros.depth.stage import DepthStage
from sfm_ros.errors import ConfigError
from sfm_ros.geometry import make_transform, so3_exp

SHAPE = (64, 128)
CAMERA = CameraIntrinsics(width=128, height=64, fx=80, fy=80, cx=63.5, cy=28.0)
RAYS = PixelRays(CAMERA.K, SHAPE)
AHEAD = make_transform(np.eye(3), [0, 0, 1.0])
STILL = np.eye(4)
RNG = np.random.default_rng(3)
GRAY = RNG.integers(90, 110, SHAPE).astype(np.uint8)
FOG = 0.02


def scene() -> np.ndarray:
    """Inverse depth of a road 1.5 below and walls 6 to the sides: the same wherever one drives."""
    road, walls = RAYS.y / 1.5, np.abs(RAYS.x) / 6
    return np.maximum(np.maximum(road, walls), FOG).astype(np.float32)


def network() -> np.ndarray:
    """Depth that is 30 % too large, with a pattern of 10 %."""
    return (1.3 / scene() * (1 + 0.1 * np.sin(RAYS.x * 9 + RAYS.y * 7))).astype(np.float32)


class Measuring:
    """Measures half of the pixels, by lengths that are too long by a factor."""

    def __init__(self) -> None:
        self.factor, self.calls = 1.0, 0
        self.valid = np.random.default_rng(4).random(SHAPE) < 0.5

    def __call__(
        self,
        target: np.ndarray,
        sources: Sequence[np.ndarray],
        T_source_target: Sequence[np.ndarray],
        K: np.ndarray,
        prior: InverseDepth,
        floor: np.ndarray | None = None,
    ) -> InverseDepth:
        assert 1 <= len(sources) == len(T_source_target) <= 2
        self.calls += 1
        w = scene() / np.float32(self.factor)
        return InverseDepth(w, w * np.float32(0.03), self.valid)


class Drive:
    """A fusion, its measuring, and the last depth."""

    def __init__(self) -> None:
        self.measuring = Measuring()
        self.fusion = DepthFusion(self.measuring)

    def go(self, frames: int, T: np.ndarray | None = AHEAD) -> FusedDepth:
        for _ in range(frames):
            found = self.fusion.step(GRAY, network(), CAMERA.K, T)
        return found


def error(found: FusedDepth | np.ndarray) -> float:
    """Mean relative error of the depth."""
    depth = found.depth if isinstance(found, FusedDepth) else found
    return float(np.mean(np.abs(depth * scene() - 1)))


def test_measured_depth_corrects_the_network_everywhere() -> None:
    drive = Drive()
    first = drive.go(1)
    assert error(first) == pytest.approx(error(network()), abs=0.02)
    found = drive.go(15)
    assert error(found) < 0.05 < 0.3 < error(network())
    assert found.reasons == ()
    measured = drive.measuring.valid
    assert np.median(found.uncertainty[measured]) < np.median(found.uncertainty[~measured])
    assert np.isfinite(found.depth).all() and np.all(found.uncertainty > 0)


def test_nothing_is_compiled_while_images_come() -> None:
    DepthFusion.compile()
    modules = (filter_kernels, road_kernels, state_kernels, maps)
    functions = [f for m in modules for f in vars(m).values() if hasattr(f, "nopython_signatures")]
    before = [len(f.nopython_signatures) for f in functions]
    assert len(functions) > 15 and sum(before) >= len(functions) - 1  # one is part of another
    drive = Drive()
    drive.go(5)
    drive.fusion.glance(GRAY, read_only(network().astype(np.float64)), CAMERA.K)
    assert [len(f.nopython_signatures) for f in functions] == before


def test_at_rest_nothing_is_measured_and_nothing_jumps() -> None:
    drive = Drive()
    before, calls = drive.go(15), drive.measuring.calls
    later = [before, *(drive.go(1, STILL) for _ in range(100))]
    assert drive.measuring.calls == calls
    jumps = [np.median(np.abs(b.depth / a.depth - 1)) for a, b in pairwise(later)]
    assert max(jumps) < 0.03
    assert max(error(found) for found in later) < error(network())


def test_turning_on_the_spot_measures_nothing() -> None:
    drive = Drive()
    calls = (drive.go(15), drive.measuring.calls)[1]
    found = drive.go(10, make_transform(so3_exp([0, 0.02, 0]), np.zeros(3)))
    assert drive.measuring.calls == calls
    assert np.isfinite(found.depth).all()


def test_an_unknown_motion_leaves_the_network_with_its_factor() -> None:
    drive = Drive()
    before = drive.go(30)
    after = drive.go(1, None)
    assert np.median(after.depth / before.depth) == pytest.approx(1, abs=0.1)
    assert error(after) < 0.6 * error(network())
    assert error(drive.go(10)) < 0.05


def test_a_wrong_length_is_not_used_but_reported() -> None:
    drive = Drive()
    before = error(drive.go(20))
    drive.measuring.factor = 1.5
    wrong = drive.go(10)
    assert wrong.reasons == (Reason.DEPTH_MISMATCH,)
    assert error(wrong) < 1.1 * error(network())
    drive.measuring.factor = 1.0
    assert error(drive.go(10)) < before + 0.02


def test_a_jump_of_the_scale_is_followed_once_it_lasts() -> None:
    drive = Drive()
    drive.go(20)
    drive.measuring.factor = 1.12
    assert drive.go(1).reasons == (Reason.DEPTH_MISMATCH,)
    found = drive.go(40)
    assert found.reasons == ()
    assert np.median(found.depth * scene()) == pytest.approx(1.12, abs=0.04)


def test_unknown_depth_of_the_network_stays_unknown() -> None:
    drive = Drive()
    drive.go(5)
    hole = network()
    hole[10:20, 30:40] = np.nan
    found = drive.fusion.step(GRAY, hole, CAMERA.K, AHEAD)
    assert np.array_equal(np.isnan(found.depth), np.isnan(hole))
    assert np.array_equal(np.isnan(found.uncertainty), np.isnan(hole))


def stage(is_live: bool = False, **options: object) -> DepthStage:
    return DepthStage(config_from_dict({"depth": options}), is_live)


def updated(of: DepthStage, T: np.ndarray | None = AHEAD, is_deferred: bool = False) -> tuple:
    found = of.update(network(), np.dstack([GRAY] * 3), CAMERA, T, is_deferred)
    return found.depth, found.uncertainty


def test_each_mode_publishes_its_depth() -> None:
    depth, uncertainty = updated(stage(mode="network"))
    assert np.array_equal(depth, network()) and uncertainty is None
    depth, uncertainty = updated(stage(mode="multiview"))
    assert depth.shape == uncertainty.shape == SHAPE
    assert stage(mode="multiview").update(None, GRAY, CAMERA, AHEAD, False).depth is None


def test_auto_gives_up_what_takes_too_long() -> None:
    quick, slow = stage(is_live=True, mode="auto"), stage(is_live=True, mode="auto")
    forced = stage(mode="auto")
    for each in (quick, slow):
        each._coming.result()  # compiled in another thread
        assert each.is_multiview
    for _ in range(30):
        quick.took(40_000_000, 100_000_000)
        slow.took(90_000_000, 100_000_000)
        forced.took(90_000_000, 100_000_000)
    assert quick.is_multiview and forced.is_multiview and not slow.is_multiview
    assert quick.method == "multiview" and slow.method.startswith("network: with several views")
    assert updated(slow)[1] is None


def test_a_map_from_before_it_was_measured_is_not_drawn_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled, create = threading.Event(), stage_module._create_fusion
    monkeypatch.setattr(stage_module, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(stage_module, "_create_fusion", lambda: compiled.wait(60) and create())
    options = {"depth": {"mode": "auto"}, "odometry": {"depth_smoothing": 0.7}}
    live = DepthStage(config_from_dict(options), is_live=True)
    coming = live._coming
    assert updated(live)[1] is None
    compiled.set()
    assert coming is not None and coming.result() is not None
    assert updated(live)[1] is not None
    for _ in range(30):
        live.took(90_000_000, 100_000_000)
    depth, uncertainty = updated(live)
    assert np.array_equal(depth, network()) and uncertainty is None


def test_without_what_compiles_auto_is_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sfm_ros.depth.multiview", None)  # cannot be imported
    for is_live in (False, True):
        lacking = stage(is_live=is_live, mode="auto")
        if is_live:
            assert isinstance(lacking._coming.exception(), ConfigError)
        depth, uncertainty = updated(lacking)
        assert np.array_equal(depth, network()) and uncertainty is None
        assert lacking.method.startswith("network: ") and "install numba" in lacking.method
    with pytest.raises(ConfigError, match="install numba"):
        updated(stage(mode="multiview"))


@pytest.mark.parametrize(
    ("mode", "odometry", "error"),
    [
        ("auto", "hybrid", ConfigError("install numba")),
        ("multiview", "network", OSError("no space left")),
        ("network", "hybrid", None),
        ("auto", "geometric", None),
    ],
)
def test_it_is_compiled_ahead_if_it_may_be_used(
    mode: str, odometry: str, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    started, notified = threading.Event(), threading.Event()

    def create() -> None:
        started.set()
        assert notified.wait(60) and error is not None
        raise error  # the node will state it

    def notify(line: str) -> None:
        noted.append(line)
        notified.set()

    monkeypatch.setattr(stage_module, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(stage_module, "_create_fusion", create)
    config = config_from_dict({"depth": {"mode": mode}, "odometry": {"mode": odometry}})
    stage_module.compile_ahead(config, notify)
    assert started.is_set() == bool(noted) == (error is not None)


def test_a_deferred_motion_keeps_what_is_known() -> None:
    deferred = stage(mode="multiview")
    updated(deferred)
    for _ in range(3):
        depth, uncertainty = updated(deferred, None, is_deferred=True)
        assert np.isfinite(depth).all() and uncertainty is not None
