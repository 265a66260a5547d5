"""FP16 and INT8 graphs made from a bundle: contract, agreement with FP32, refusals, TensorRT."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
from graphs.rtx import expect_to_build, needs_rtx
from onnx import TensorProto, helper, numpy_helper

from sfm_ros.config import ModelConfig
from sfm_ros.engines.contract import check_contract
from sfm_ros.engines.factory import DEFAULT_MODEL, MODELS
from sfm_ros.engines.onnx_engine import OnnxEngine, _ports
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from training import add_variants
from training.data.sequence import PreparedSet
from training.exporting.graphs import attributes, shape_of
from training.exporting.half import in_half
from training.exporting.quantize import _cut
from training.exporting.variants import MADE, calibration_windows
from training.exporting.variants import add_variants as add_variants_to

AGREEMENT = {"fp16": 2e-3, "int8": 0.05, "int8_cpu": 0.05}
"""Largest median relative difference of depth, and of the translation, from FP32."""


@pytest.fixture(scope="module")
def extended(
    small_bundle: Path, street_set: PreparedSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small bundle with all variants."""
    out = tmp_path_factory.mktemp("out") / "extended"
    options = ["--variants", *MADE, "--calibrate", str(street_set.path), "--no-measure"]
    command = ["--model", str(small_bundle), "--out", str(out), *options]
    assert add_variants.main(command) == 0
    return out


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(path), options)


def predictions(
    bundle: Path, variant: str, frames: PreparedSet
) -> tuple[npt.NDArray, npt.NDArray]:
    """Depth and translation of the frames of the set."""
    graphs = ModelSpec.load(bundle).graphs(variant)
    depth, pose = session(bundle / graphs.depth_file), session(bundle / graphs.pose_file)
    pairs = [frames.frames[k : k + 2] for k in range(len(frames.frames) - 1)]
    depths = [depth.run(None, {"rgb": pair[1:]})[0] for pair in pairs]
    motions = [pose.run(None, {"window": pair[None]})[0] for pair in pairs]
    return np.stack(depths), np.stack(motions)[..., :3, 3]


@pytest.mark.parametrize("variant", ["fp32", *MADE])
def test_variant_obeys_the_contract(extended: Path, variant: str) -> None:
    spec = ModelSpec.load(extended)
    graphs = spec.graphs(variant)
    depth, pose = (
        _ports(session(extended / file), file) for file in (graphs.depth_file, graphs.pose_file)
    )
    check_contract(spec, depth, pose)


@pytest.mark.parametrize("variant", MADE)
def test_variant_agrees_with_fp32(
    extended: Path, small_bundle: Path, street_set: PreparedSet, variant: str
) -> None:
    expected = predictions(small_bundle, "fp32", street_set)
    found = predictions(extended, variant, street_set)
    assert all(np.ptp(value) > 0 for value in expected)
    for new, old in zip(found, expected, strict=True):
        difference = np.median(np.abs(new - old)) / np.median(np.abs(old))
        assert 0 < difference < AGREEMENT[variant]


def test_rewritten_fp32_agrees(
    extended: Path, small_bundle: Path, street_set: PreparedSet
) -> None:
    expected = predictions(small_bundle, "fp32", street_set)
    for new, old in zip(predictions(extended, "fp32", street_set), expected, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["depth", "pose"])
def test_half_graph_is_fp16_up_to_its_last_convolution(extended: Path, part: str) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(extended / f"{part}.fp16.onnx"))
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    assert {kinds[name] for name in convs} == {TensorProto.FLOAT16}
    last = next(node for node in model.graph.node if node.op_type in ("Reciprocal", "ReduceMean"))
    assert kinds[last.output[0]] == TensorProto.FLOAT
    assert model.graph.node[0].op_type == "Cast"  # all that TensorRT does with uint8


def test_quantized_graphs_are_in_the_style_of_their_runtime(extended: Path) -> None:
    for variant, kind, biased in (("int8", np.int8, False), ("int8_cpu", np.uint8, True)):
        model = onnx.load(extended / f"depth.{variant}.onnx")
        values = {v.name: numpy_helper.to_array(v) for v in model.graph.initializer}
        zeros = [values[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"]
        assert {zero.dtype for zero in zeros} == {np.dtype(kind)}
        assert any(zero.any() for zero in zeros) == (kind == np.uint8)
        integers = [v for v in values.values() if v.dtype == np.int32]
        assert bool(integers) == biased
        per_channel = [v for n, v in values.items() if v.dtype == np.int8 and v.ndim == 4]
        assert len(per_channel) == 2  # of the three hidden layers the first stays in FP32


def test_first_layer_and_head_stay_in_fp32(extended: Path) -> None:
    model = onnx.load(extended / "depth.int8_cpu.onnx")
    made_by = {name: node for node in model.graph.node for name in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    quantized = [made_by.get(node.input[1]) is not None for node in convs]
    assert quantized == [False, True, True, False, False]
    assert [attributes(node).get("group", 1) for node in convs] == [1, 8, 1, 8, 1]


def test_other_graphs_of_a_bundle_are_kept(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, first, second = (tmp_path / name for name in ("source", "first", "second"))
    shutil.copytree(small_bundle, source)
    (source / "multiview.onnx").write_bytes(b"a third graph")
    spec = ModelSpec.load(small_bundle)
    dataclasses.replace(spec, multiview_file="multiview.onnx").save(source)
    options = ["--variants", "fp16", "--no-measure"]
    assert add_variants.main(["--model", str(source), "--out", str(first), *options]) == 0
    assert add_variants.main(["--model", str(first), "--out", str(second)]) == 0
    assert (second / "multiview.onnx").read_bytes() == b"a third graph"
    graphs = [ModelSpec.load(folder).graphs("fp16") for folder in (first, second)]
    assert graphs[0] == graphs[1]
    table = capsys.readouterr().out
    assert "fp32" in table and "fp16" in table


def test_weight_beyond_fp16_is_refused(small_bundle: Path) -> None:
    model = onnx.load(small_bundle / "depth.onnx")
    weight = next(v for v in model.graph.initializer if v.name == "w3")
    weight.CopyFrom(numpy_helper.from_array(1e6 * numpy_helper.to_array(weight), "w3"))
    with pytest.raises(ModelError, match="too large for FP16"):
        in_half(model)


def failure(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert add_variants.main(list(command)) == 1
    return capsys.readouterr().err


def test_refusals_leave_nothing(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    to = ["--model", str(small_bundle), "--out", str(out)]
    assert "--calibrate" in failure(capsys, *to, "--variants", "int8")
    nowhere = ["--calibrate", str(tmp_path / "none")]
    assert "no prepared set" in failure(capsys, *to, "--variants", "int8", *nowhere)
    assert "no model 'nothing'" in failure(capsys, "--model", "nothing", "--out", str(out))
    same = ["--model", str(small_bundle), "--out", str(small_bundle)]
    assert "is not empty" in failure(capsys, *same, "--variants", "fp16")
    assert list(tmp_path.iterdir()) == []


def test_calibration_needs_frames_of_the_model(
    small_bundle: Path, street_set: PreparedSet
) -> None:
    spec = ModelSpec.load(small_bundle)
    windows = calibration_windows([street_set.path], spec, ["int8"])
    np.testing.assert_array_equal(windows[:, 1], street_set.frames[1:])
    both = calibration_windows([street_set.path] * 2, spec, ["int8"])
    np.testing.assert_array_equal(both, np.concatenate([windows, windows]))
    assert len(calibration_windows([], spec, ["fp16"])) == 0
    wide = ModelSpec(
        name="wide", width=128, height=64, sequence_length=2, target_index=1, training_fx=70.0,
        metric=True, min_depth=1.0, max_depth=10.0,
    )  # fmt: skip
    with pytest.raises(ModelError, match="64x64, the model 128x64"):
        calibration_windows([street_set.path], wide, ["int8"])


def test_variants_run_in_the_engines_of_the_cpu(extended: Path) -> None:
    engine = OnnxEngine(extended, ModelConfig(precision="int8", threads=1))
    window = parity_windows(engine.spec)[0]
    assert np.isfinite(engine.infer(window).depth).all()
    engine.close()


def test_motion_by_features_stays_in_fp32_beside_a_depth_in_int8(tmp_path: Path) -> None:
    """As shipped; calibrated on two of the parity windows."""
    spec = ModelSpec.load(MODELS / DEFAULT_MODEL)
    assert spec.pose_input == "features"
    for file in (spec.depth_file, spec.pose_file):
        shutil.copyfile(MODELS / DEFAULT_MODEL / file, tmp_path / file)
    windows = np.stack([np.stack(w.images) for w in parity_windows(spec)[:2]])
    spec = add_variants_to(tmp_path, spec, ["int8_cpu"], windows).save(tmp_path)
    graphs = spec.graphs("int8_cpu")
    assert graphs.pose_file == spec.pose_file
    assert sorted(p.name for p in tmp_path.glob("*.onnx")) == sorted(
        {graphs.depth_file, spec.depth_file, spec.pose_file}
    )
    engine = OnnxEngine(tmp_path, ModelConfig(precision="int8", threads=1))
    found = engine.infer(parity_windows(spec)[0])
    assert np.isfinite(found.depth).all() and np.isfinite(found.increments).all()
    engine.close()


@needs_rtx
def test_graphs_build_with_tensorrt(extended: Path) -> None:
    names = ("", ".fp16", ".int8")
    expect_to_build([extended / f"{part}{n}.onnx" for n in names for part in ("depth", "pose")])


@needs_rtx
def test_shipped_networks_build_with_tensorrt(tmp_path: Path) -> None:
    """In FP32, in FP16, and in INT8 with the ranges of a few parity frames."""
    bundle = MODELS / DEFAULT_MODEL
    spec = ModelSpec.load(bundle)
    windows = np.stack([np.stack(w.images) for w in parity_windows(spec)[:2]])
    for file in (spec.depth_file, spec.pose_file):
        shutil.copyfile(bundle / file, tmp_path / file)
    add_variants_to(tmp_path, spec, ["fp16", "int8"], windows)
    files = sorted(tmp_path.glob("*.onnx"))
    assert len(files) == 5  # the motion stays in FP32 beside a depth in INT8
    expect_to_build(files)


def test_sizes_of_the_inputs_are_those_of_the_spec(extended: Path) -> None:
    for name in MADE:
        model = onnx.load(extended / f"pose.{name}.onnx")
        assert shape_of(model.graph.input[0]) == [1, 2, 64, 64, 3]


def test_what_is_read_again_and_again_is_looked_at_once() -> None:
    """The elimination after the last convolution has more ways through it than can be walked."""
    nodes = [helper.make_node("Relu", ["image"], ["r0"])]
    nodes += [helper.make_node("Add", [f"r{i}", f"r{i}"], [f"r{i + 1}"]) for i in range(60)]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "r60")
    ]
    body, tail = _cut(
        helper.make_model(helper.make_graph(nodes, "doubled", values[:1], values[1:]))
    )
    assert [node.op_type for node in body.graph.node] == ["Relu"] and len(tail) == 60
