"""A small bundle with convolutions, and frames to calibrate on, for the tests of the variants."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.model_spec import ModelSpec
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.data.sequence import PreparedFrame, PreparedSet
from training.preparation.writer import PreparedWriter

if importlib.util.find_spec("onnx") is not None:  # else the test modules skip themselves
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from training.exporting.graphs import make_node

WIDTH, HEIGHT, CHANNELS = 64, 64, 8


def _model(
    nodes: list[onnx.NodeProto], given: tuple, result: tuple, constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    values = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    ports = [
        helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (given, result)
    ]
    graph = helper.make_graph(nodes, "small", ports[:1], ports[1:], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _weights(seed: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def _layers(source: str, channels: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Three convolutions, the second one of each channel alone."""
    nodes = [
        make_node("Conv", [source, "w1", "b1"], "c1", strides=[2, 2], pads=[1, 1, 1, 1]),
        make_node("Clip", ["c1", "zero", "six"], "a1"),
        make_node("Conv", ["a1", "w2"], "c2", group=CHANNELS, pads=[1, 1, 1, 1]),
        make_node("Relu", ["c2"], "a2"),
        make_node("Conv", ["a2", "w3", "b3"], "c3"),
        make_node("Relu", ["c3"], "a3"),
    ]
    constants = {
        "w1": _weights(1, CHANNELS, channels, 3, 3), "b1": _weights(2, CHANNELS),
        "w2": _weights(3, CHANNELS, 1, 3, 3), "b3": _weights(5, CHANNELS),
        "w3": _weights(4, CHANNELS, CHANNELS, 1, 1),
        "zero": np.array(0, np.float32), "six": np.array(6, np.float32),
    }  # fmt: skip
    return nodes, constants


def _depth() -> onnx.ModelProto:
    nodes, constants = _layers("pixels", 3)
    nodes = [
        make_node("Transpose", ["rgb"], "ordered", perm=[0, 3, 1, 2]),
        make_node("Cast", ["ordered"], "float", to=TensorProto.FLOAT),
        make_node("Mul", ["float", "scale"], "pixels"),
        *nodes,
        make_node("Resize", ["a3", "", "sizes"], "up", mode="nearest"),
        make_node("Conv", ["up", "w4"], "logit", pads=[1, 1, 1, 1]),
        make_node("Sigmoid", ["logit"], "share"),
        make_node("Add", ["share", "far"], "disparity"),
        make_node("Reciprocal", ["disparity"], "near"),
        make_node("Squeeze", ["near", "axis"], "depth"),
    ]
    constants |= {
        "scale": np.array(1 / 128, np.float32), "sizes": np.array([1, 1, 2, 2], np.float32),
        "w4": _weights(6, 1, CHANNELS, 3, 3), "far": np.array(0.01, np.float32),
        "axis": np.array([1]),
    }  # fmt: skip
    image = [1, HEIGHT, WIDTH, 3]
    return _model(
        nodes,
        ("rgb", TensorProto.UINT8, image),
        ("depth", TensorProto.FLOAT, image[:3]),
        constants,
    )


def _pose() -> onnx.ModelProto:
    """The translation depends on the images, the rotation is none."""
    nodes, constants = _layers("pixels", 6)
    nodes = [
        make_node("Transpose", ["window"], "ordered", perm=[0, 1, 4, 2, 3]),
        make_node("Cast", ["ordered"], "float", to=TensorProto.FLOAT),
        make_node("Mul", ["float", "scale"], "scaled"),
        make_node("Reshape", ["scaled", "stacked"], "pixels"),
        *nodes,
        make_node("Conv", ["a3", "w4"], "six_maps"),
        make_node("ReduceMean", ["six_maps", "axes"], "mean", keepdims=0),
        make_node("Slice", ["mean", "start", "stop", "start_axis"], "moved"),
        make_node("Reshape", ["moved", "column"], "t"),
        make_node("Concat", ["R", "t"], "top", axis=3),
        make_node("Concat", ["top", "bottom"], "T_source_target", axis=2),
    ]
    constants |= {
        "scale": np.array(1 / 128, np.float32), "stacked": np.array([1, 6, HEIGHT, WIDTH]),
        "w4": _weights(7, 6, CHANNELS, 1, 1), "axes": np.array([2, 3]), "start": np.array([0]),
        "stop": np.array([3]), "start_axis": np.array([1]), "column": np.array([1, 1, 3, 1]),
        "R": np.eye(3, dtype=np.float32)[None, None],
        "bottom": np.array([0, 0, 0, 1], np.float32).reshape(1, 1, 1, 4),
    }  # fmt: skip
    return _model(
        nodes,
        ("window", TensorProto.UINT8, [1, 2, HEIGHT, WIDTH, 3]),
        ("T_source_target", TensorProto.FLOAT, [1, 1, 4, 4]),
        constants,
    )


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two small convolutional networks with random weights."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    folder.mkdir()
    onnx.save(_depth(), folder / "depth.onnx")
    onnx.save(_pose(), folder / "pose.onnx")
    ModelSpec(
        name="small", width=WIDTH, height=HEIGHT, sequence_length=2, target_index=1,
        training_fx=40.0, metric=True, min_depth=0.9, max_depth=100.0,
    ).save(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def street_set(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """A prepared set of six frames of a rendered street."""
    config = SyntheticConfig(seed=3, width=WIDTH, height=HEIGHT, frames=6, fx=40.0)
    writer = PreparedWriter(tmp_path_factory.mktemp("street"), WIDTH, HEIGHT)
    writer.add("street", _frames(SyntheticStreet(config)), "rendered")
    return writer.finish()


def _frames(street: SyntheticStreet) -> Iterator[PreparedFrame]:
    for item in street:
        camera = item.frame.intrinsics
        yield PreparedFrame(
            rgb=item.frame.rgb,
            K=(camera.fx, camera.fy, camera.cx, camera.cy),
            stamp_ns=item.frame.stamp_ns,
        )
