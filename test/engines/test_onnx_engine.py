"""Model bundles: the contract, loading, and damaged bundles."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.engines.factory import create_engine
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.geometry import inverse, make_transform, se3_exp, so3_exp
from sfm_ros.model_spec import ModelSpec, window_increments
from sfm_ros.window import Window

onnx = pytest.importorskip("onnx")

W, H = 32, 16
SPEC = ModelSpec(
    name="tiny", width=W, height=H, sequence_length=3, target_index=1, training_fx=20.0,
    metric=True, min_depth=0.1, max_depth=100.0,
)  # fmt: skip
T_0_1 = se3_exp([0.1, 0.0, 1.0, 0.0, 0.02, 0.0])
T_2_1 = inverse(se3_exp([0.0, 0.0, 2.0, 0.0, -0.03, 0.0]))


def _depth_graph(output: str = "depth") -> onnx.ModelProto:
    """Depth = red + 1: reveals which frame and channel the engine passes on."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["rgb"], ["float"], to=types.FLOAT),
        helper.make_node("Gather", ["float", "zero"], ["red"], axis=3),
        helper.make_node("Add", ["red", "one"], [output]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array(0), "zero"),
        onnx.numpy_helper.from_array(np.array(1.0, dtype=np.float32), "one"),
    ]
    return _model(
        nodes, ("rgb", types.UINT8, [1, H, W, 3]), (output, types.FLOAT, [1, H, W]), constants
    )


def _pose_graph() -> onnx.ModelProto:
    helper, types = onnx.helper, onnx.TensorProto
    motions = np.stack([T_0_1, T_2_1])[None].astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["window"], ["float"], to=types.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["no_change"]),
        helper.make_node("Add", ["motions", "no_change"], ["T_source_target"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(motions, "motions"),
        onnx.numpy_helper.from_array(np.array(0.0, dtype=np.float32), "zero"),
    ]
    return _model(
        nodes,
        ("window", types.UINT8, [1, 3, H, W, 3]),
        ("T_source_target", types.FLOAT, [1, 2, 4, 4]),
        constants,
    )


def _model(nodes: list, given: tuple, result: tuple, constants: list) -> onnx.ModelProto:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*given)],
        [helper.make_tensor_value_info(*result)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    onnx.save(_depth_graph(), folder / "depth.onnx")
    onnx.save(_pose_graph(), folder / "pose.onnx")
    SPEC.save(folder)
    return folder


def _window() -> Window:
    images = tuple(np.full((H, W, 3), [10 * k, 1, 2], dtype=np.uint8) for k in range(3))
    camera = CameraIntrinsics(width=W, height=H, fx=20, fy=20, cx=16, cy=8)
    return Window(images=images, stamps_ns=(0, 1, 2), intrinsics=camera)


def test_prediction_of_a_window(bundle: Path) -> None:
    prediction = OnnxEngine(bundle, ModelConfig(threads=1)).infer(_window())
    np.testing.assert_allclose(prediction.depth, 21.0)  # red of the newest frame is 20
    np.testing.assert_allclose(prediction.increments[0], T_0_1, atol=1e-6)
    np.testing.assert_allclose(prediction.T_prev_curr, inverse(T_2_1), atol=1e-6)
    assert prediction.T_prev_curr[2, 3] == pytest.approx(2.0, abs=1e-3)  # ahead is positive
    assert prediction.inference_ns > 0


def test_closed_engine_leaves_no_threads(bundle: Path) -> None:
    before = len(os.listdir("/proc/self/task"))
    engine = OnnxEngine(bundle, ModelConfig(threads=3))
    assert len(os.listdir("/proc/self/task")) > before
    engine.close()
    assert len(os.listdir("/proc/self/task")) == before


@pytest.mark.parametrize("target", [0, 1, 2])
def test_increments_do_not_depend_on_the_target(target: int) -> None:
    T_world = [np.eye(4), T_0_1, T_0_1 @ inverse(T_2_1)]
    sources = [inverse(T_world[k]) @ T_world[target] for k in range(3) if k != target]
    spec = dataclasses.replace(SPEC, target_index=target)
    increments = window_increments(np.stack(sources), spec)
    np.testing.assert_allclose(increments, [T_0_1, inverse(T_2_1)], atol=1e-12)


def test_increments_are_orthogonal_or_nan() -> None:
    skewed = make_transform(so3_exp([0, 0.1, 0]) * 1.001, [0, 0, 1])
    R = window_increments(np.stack([skewed, skewed]), SPEC)[-1][:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    skewed[0, 0] = np.nan
    assert np.isnan(window_increments(np.stack([skewed, T_2_1]), SPEC)).all()


def test_spec_round_trip(bundle: Path) -> None:
    loaded = ModelSpec.load(bundle)
    assert len(loaded.depth_sha256) == 64
    assert dataclasses.replace(loaded, depth_sha256="", pose_sha256="") == SPEC


def test_card_is_readable_text(bundle: Path) -> None:
    card = "# Tiny\n\nTrained on: nothing.\n"
    dataclasses.replace(SPEC, card=card).save(bundle)
    text = (bundle / "model.yaml").read_text()
    assert "card: |\n  # Tiny\n\n  Trained on: nothing.\n" in text
    assert ModelSpec.load(bundle).card == card


def _edit(bundle: Path, **changes: object) -> None:
    values = yaml.safe_load((bundle / "model.yaml").read_text())
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not None}
    (bundle / "model.yaml").write_text(yaml.safe_dump(kept))


def test_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        create_engine(ModelConfig(bundle="nowhere"))
    with pytest.raises(ModelError, match=r"model\.yaml, depth\.onnx and pose\.onnx"):
        OnnxEngine(tmp_path)


def test_missing_graph_is_named(bundle: Path) -> None:
    (bundle / "pose.onnx").unlink()
    with pytest.raises(ModelError, match=r"pose\.onnx"):
        OnnxEngine(bundle)


def test_truncated_graph_has_wrong_hash(bundle: Path) -> None:
    path = bundle / "depth.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match="sha256"):
        OnnxEngine(bundle)


def test_truncated_graph_with_matching_hash(bundle: Path) -> None:
    path = bundle / "depth.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    SPEC.save(bundle)
    with pytest.raises(ModelError, match=r"cannot load .*depth\.onnx"):
        OnnxEngine(bundle)


def test_foreign_graph_names_both_contracts(bundle: Path) -> None:
    onnx.save(_depth_graph("disparity"), bundle / "depth.onnx")
    SPEC.save(bundle)
    with pytest.raises(ModelError, match=r"outputs \[disparity .*expected .*outputs \[depth "):
        OnnxEngine(bundle)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format": "other/9"}, "'other/9'.*sfm_ros.model/1"),
        ({"width": None}, r"missing keys \['width'\]"),
        ({"color": "blue"}, r"unknown keys \['color'\]"),
        ({"width": "wide"}, "'width' is 'wide'"),
        ({"width": -1}, "-1x16"),
        ({"target_index": 3}, "target 3"),
    ],
)
def test_wrong_spec_is_named(bundle: Path, changes: dict, named: str) -> None:
    _edit(bundle, **changes)
    with pytest.raises(ModelError, match=named):
        ModelSpec.load(bundle)


def test_spec_that_is_not_yaml(bundle: Path) -> None:
    (bundle / "model.yaml").write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match="damaged"):
        ModelSpec.load(bundle)


def test_bundle_is_found_by_path(bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(bundle, moved)
    engine = create_engine(ModelConfig(bundle=str(moved), engine="onnx", threads=1))
    assert (engine.name, engine.spec.name) == ("onnx", "tiny")


def test_failing_run_is_an_engine_error(bundle: Path) -> None:
    window = dataclasses.replace(_window(), images=(np.zeros((4, 4, 3), np.uint8),) * 3)
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        OnnxEngine(bundle, ModelConfig(threads=1)).infer(window)
