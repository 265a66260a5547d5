"""The parity gate: equal engines pass, wrong ones are refused with what is wrong."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.config import ModelConfig
from sfm_ros.engines import parity_frames
from sfm_ros.engines.factory import DEFAULT_MODEL, MODELS
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.engines.parity import LIMITS, ParityError, check_parity, measured_error
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.model_spec import ModelSpec

ROAD = MODELS / DEFAULT_MODEL
FORWARD = make_transform(np.eye(3), [0.0, 0.0, 1.0])


def wall(_=None):
    return np.full((128, 416), 10.0, np.float32)


REFERENCE = FakeEngine(motion=FORWARD, depth=wall)


def found(limits=LIMITS["fp16"], **changes):
    candidate = FakeEngine(**{"motion": FORWARD, "depth": wall, **changes})
    return check_parity(candidate, REFERENCE, limits)


def test_an_engine_agrees_with_itself() -> None:
    result = found()
    assert result.accepted and result.error == ParityError(
        depth_median=0.0, depth_p95=0.0, translation=0.0, rotation=0.0
    )


def test_each_difference_is_measured_in_its_own_unit() -> None:
    turned = make_transform(so3_exp([0.0, 0.003, 0.0]), [0.0, 0.0, 1.04])
    depth = wall()
    depth[:, : 416 // 10] *= 1.2  # a tenth of the image
    result = found(motion=turned, depth=depth)
    error = result.error
    assert error is not None and not result.accepted
    assert (error.depth_median, error.depth_p95) == pytest.approx((0.0, 0.2), abs=1e-6)
    assert error.translation == pytest.approx(0.04 / 1.04)
    assert error.rotation == pytest.approx(0.003, abs=1e-9)
    assert "refused, depth p95 and translation and rotation too large" in result.text
    assert "translation 0.038, limit 0.02" in result.text


def test_the_limits_grow_with_the_loss_of_precision() -> None:
    for finer, coarser in zip(("fp32", "fp16", "bf16"), ("fp16", "bf16", "int8"), strict=True):
        pairs = zip(
            dataclasses.astuple(LIMITS[finer]), dataclasses.astuple(LIMITS[coarser]), strict=True
        )
        assert all(0 < low < high for low, high in pairs)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"depth": np.full((128, 416), np.nan, np.float32)}, "its depth is not finite"),
        ({"motion": np.full((4, 4), np.inf)}, "its motion is not finite"),
        ({"depth": np.ones((64, 208), np.float32)}, r"its depth has shape \(64, 208\), expected"),
        ({"spec": fake_spec(sequence_length=2)}, r"its motion has shape \(1, 4, 4\), expected"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, text) -> None:
    result = found(LIMITS["int8"], **changes)
    assert not result.accepted and result.error is None
    assert re.search(text, result.text)


def test_a_candidate_that_fails_is_refused_and_a_reference_that_fails_is_an_error() -> None:
    def failing(_):
        raise EngineError("the device is lost")

    result = found(depth=failing)
    assert not result.accepted and "it failed: the device is lost" in result.text
    with pytest.raises(EngineError, match="the device is lost"):
        check_parity(REFERENCE, FakeEngine(depth=failing), LIMITS["fp32"])


def test_a_standing_camera_is_no_division_by_zero() -> None:
    still = [FakeEngine().infer(window) for window in parity_windows(fake_spec())]
    assert measured_error(still, still).translation == 0.0


# The stored frames


@pytest.mark.parametrize("length", [2, 3, 5, 7])
def test_windows_of_any_length_on_the_grid_of_the_model(length: int) -> None:
    spec = fake_spec(width=320, height=96, sequence_length=length)
    windows = parity_windows(spec)
    assert len(windows) == 2 * (5 - length + 1 if length <= 5 else 9 - length + 1)
    for window in windows:
        assert [image.shape for image in window.images] == [(96, 320, 3)] * length
        assert all(image.std() > 20 for image in window.images)  # streets, not a gray wall
        assert np.diff(window.stamps_ns).tolist() == [100_000_000] * (length - 1)
        assert (window.intrinsics.width, window.intrinsics.height) == (320, 96)
    neighbors = windows[0].images[0].astype(int), windows[0].images[1].astype(int)
    assert np.abs(neighbors[0] - neighbors[1]).mean() > 3  # the camera moves


def test_damaged_frames_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "frames.npz"
    damaged.write_bytes(parity_frames.ARCHIVE.read_bytes()[:5000])
    for path in (damaged, tmp_path / "absent.npz"):
        monkeypatch.setattr(parity_frames, "ARCHIVE", path)
        with pytest.raises(ModelError, match="cannot be read.*reinstall sfm_ros"):
            parity_windows(fake_spec())


# A wrong layer


def with_wrong_layer(folder: Path, graph: str, layer: int, factor: float) -> Path:
    """The default model with the weights of one convolution scaled, and hashes that fit."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    bundle = folder / "wrong"
    shutil.copytree(ROAD, bundle)
    model = onnx.load(bundle / f"{graph}.onnx")
    weights = [t for t in model.graph.initializer if len(t.dims) == 4][layer]
    values = onnx.numpy_helper.to_array(weights)
    scaled = (values * np.float32(factor)).astype(values.dtype)
    weights.CopyFrom(onnx.numpy_helper.from_array(scaled, weights.name))
    onnx.save(model, bundle / f"{graph}.onnx")
    ModelSpec.load(ROAD).save(bundle)
    return bundle


@pytest.fixture(scope="module")
def road() -> Iterator[OnnxEngine]:
    with closing(OnnxEngine(ROAD, ModelConfig(threads=1))) as engine:
        yield engine


@pytest.mark.parametrize(
    ("graph", "layer", "factor", "precision", "exceeded"),
    [
        ("depth", 0, 1.1, "fp16", "depth median and depth p95"),
        ("depth", 32, 1.1, "fp16", "depth p95"),
        ("pose", 1, 1.2, "fp16", "translation"),
        ("depth", 32, 0.0, "int8", "depth"),
        ("pose", 1, 0.0, "int8", "translation"),
    ],
)
def test_one_wrong_layer_is_refused(
    road: OnnxEngine, tmp_path: Path, graph: str, layer: int, factor: float, precision: str,
    exceeded: str,
) -> None:  # fmt: skip
    bundle = with_wrong_layer(tmp_path, graph, layer, factor)
    with closing(OnnxEngine(bundle, ModelConfig(threads=1))) as wrong:
        result = check_parity(wrong, road, LIMITS[precision])
    assert not result.accepted and f"refused, {exceeded}" in result.text


def test_the_unchanged_model_passes(road: OnnxEngine) -> None:
    with closing(OnnxEngine(ROAD, ModelConfig(threads=2))) as same:
        assert check_parity(same, road, LIMITS["fp32"]).accepted
