"""Model bundles on the CPU's engines: the contract, loading, precisions, and damaged bundles."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
import onnxruntime
from graphs.tiny import SPEC, T_0_1, T_2_1, depth_graph, window_of, write_tiny_bundle

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import create_engine
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.geometry import inverse, make_transform, so3_exp
from sfm_ros.model_spec import ModelSpec, window_increments
from sfm_ros.model_variants import GraphVariant

ONE_THREAD, TWO_THREADS = ModelConfig(threads=1), ModelConfig(threads=2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.fixture(params=["OnnxEngine", "OpenVinoEngine"])
def engine_class(request: pytest.FixtureRequest) -> type[Engine]:
    """An engine on the CPU, of every library that is installed."""
    if request.param == "OnnxEngine":
        return OnnxEngine
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from sfm_ros.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine


@pytest.mark.parametrize("config", [ONE_THREAD, TWO_THREADS])
def test_prediction_of_a_window(bundle: Path, engine_class: type, config: ModelConfig) -> None:
    engine = engine_class(bundle, config)
    prediction = engine.infer(window_of(0, 10, 20))
    np.testing.assert_allclose(prediction.depth, 21.0)  # the newest frame's red is 20
    np.testing.assert_allclose(prediction.increments[0], T_0_1, atol=1e-6)
    np.testing.assert_allclose(prediction.T_prev_curr, inverse(T_2_1), atol=1e-6)
    assert prediction.T_prev_curr[2, 3] == pytest.approx(2.0, abs=1e-3)  # ahead is positive
    assert prediction.inference_ns > 0
    engine.infer(window_of(0, 10, 40))
    np.testing.assert_allclose(prediction.depth, 21.0)  # its own memory


def test_pose_may_look_at_features(tmp_path: Path, engine_class: type) -> None:
    spec = dataclasses.replace(SPEC, pose_input="features")
    engine = engine_class(write_tiny_bundle(tmp_path / "features", spec), ONE_THREAD)
    first, last = window_of(0, 10, 30), window_of(0, 0, 60)
    following = dataclasses.replace(last, images=(*first.images[1:], last.images[-1]))
    for window, increments in ((first, (10.0, 20.0)), (following, (20.0, 30.0)), (last, (0, 60))):
        prediction = engine.infer(window)
        np.testing.assert_allclose(prediction.depth, window.images[-1][0, 0, 0] + 1.0)
        # T_0_1 moves by red 0 less red 1, and the increments are seen from the older frame.
        expected = [-d for d in increments]
        np.testing.assert_allclose(prediction.increments[:, 2, 3], expected, atol=1e-4)


def test_closed_engine_leaves_no_threads(bundle: Path) -> None:
    before = set(os.listdir("/proc/self/task"))  # some may be of earlier tests, and end any time
    engine = OnnxEngine(bundle, ModelConfig(threads=3))
    made = set(os.listdir("/proc/self/task")) - before
    assert made
    engine.close()
    assert not made & set(os.listdir("/proc/self/task"))


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


def test_truncated_graph_with_matching_hash(bundle: Path, engine_class: type) -> None:
    path = bundle / "depth.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    SPEC.save(bundle)
    with pytest.raises(ModelError, match=r"cannot load .*depth\.onnx"):
        engine_class(bundle)


def test_foreign_graph_names_both_contracts(bundle: Path, engine_class: type) -> None:
    onnx.save(depth_graph("disparity"), bundle / "depth.onnx")
    SPEC.save(bundle)
    with pytest.raises(ModelError, match=r"outputs \[disparity .*expected .*outputs \[depth "):
        engine_class(bundle)


def test_features_are_part_of_the_contract(bundle: Path, engine_class: type) -> None:
    dataclasses.replace(SPEC, pose_input="features").save(bundle)
    with pytest.raises(ModelError, match=r"depth\.onnx .*expected .*features float32"):
        engine_class(bundle)


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


@pytest.mark.parametrize("config", [ONE_THREAD, TWO_THREADS])
def test_failing_run_is_an_engine_error(
    bundle: Path, engine_class: type, config: ModelConfig
) -> None:
    window = dataclasses.replace(
        window_of(0, 10, 20), images=(np.zeros((4, 4, 3), np.uint8),) * SPEC.sequence_length
    )
    with pytest.raises(EngineError, match="(ONNX Runtime|OpenVINO) failed"):
        engine_class(bundle, config).infer(window)


@pytest.mark.parametrize("engine", ["onnx", "openvino", "cuda", "tensorrt"])
def test_precision_of_another_engine_is_refused(bundle: Path, engine: str) -> None:
    wrong = "fp16" if engine in ("onnx", "openvino") else "bf16"
    with pytest.raises(EngineError, match=f"{engine} does not compute in {wrong}"):
        create_engine(ModelConfig(bundle=str(bundle), engine=engine, precision=wrong))


def test_variants_of_a_bundle_are_other_graphs(bundle: Path, engine_class: type) -> None:
    onnx.save(depth_graph(offset=5.0), bundle / "depth_int8.onnx")
    variant = GraphVariant(depth_file="depth_int8.onnx", pose_file="pose.onnx")
    dataclasses.replace(SPEC, variants={"int8_cpu": variant}).save(bundle)
    for precision, depth in (("int8", 25.0), ("fp32", 21.0), ("auto", 21.0)):
        engine = engine_class(bundle, ModelConfig(precision=precision, threads=1))
        assert engine.precision == precision.replace("auto", "fp32")
        np.testing.assert_allclose(engine.infer(window_of(0, 10, 20)).depth, depth)


def test_bf16_needs_a_processor_that_has_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO itself would compute in FP32 there, without a word."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from sfm_ros.engines import openvino_engine

    monkeypatch.setattr(openvino_engine, "_capabilities", lambda core: ["FP32", "INT8"])
    with pytest.raises(EngineError, match="does not compute in bf16"):
        create_engine(ModelConfig(bundle=str(bundle), engine="openvino", precision="bf16"))


def test_precision_without_graphs_is_refused(bundle: Path) -> None:
    with pytest.raises(ModelError, match="no graphs for 'int8_cpu'"):
        create_engine(ModelConfig(bundle=str(bundle), engine="onnx", precision="int8"))


def test_cuda_engine_never_runs_on_the_processor(bundle: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(EngineError, match="needs a build of ONNX Runtime with CUDA"):
        create_engine(ModelConfig(bundle=str(bundle), engine="cuda"))


def test_cuda_provider_that_does_not_start_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a driver ONNX Runtime makes the session on the CPU; only its log states that."""
    create = onnxruntime.InferenceSession

    def on_cpu(path: str, options: object, providers: list[str]) -> onnxruntime.InferenceSession:
        assert providers == ["CUDAExecutionProvider"]
        return create(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    with pytest.raises(EngineError, match="cannot use a GPU here"):
        create_engine(ModelConfig(bundle=str(bundle), engine="cuda"))


def test_openvino_states_its_precision(bundle: Path) -> None:
    """Its own choice would be bfloat16, where the processor has it: 21.3 is not 21.3 then."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from sfm_ros.engines.openvino_engine import OpenVinoEngine

    engine = OpenVinoEngine(bundle, ONE_THREAD)
    compiled = engine._depth.get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
