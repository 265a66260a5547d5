"""A bundle of tiny graphs whose outputs reveal what the engine passed to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.geometry import inverse, se3_exp
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

WIDTH, HEIGHT = 32, 16
SPEC = ModelSpec(
    name="tiny", width=WIDTH, height=HEIGHT, sequence_length=3, target_index=1, training_fx=20.0,
    metric=True, min_depth=0.1, max_depth=100.0,
)  # fmt: skip
T_0_1 = se3_exp([0.1, 0.0, 1.0, 0.0, 0.02, 0.0])
T_2_1 = inverse(se3_exp([0.0, 0.0, 2.0, 0.0, -0.03, 0.0]))
_CAMERA = CameraIntrinsics(width=WIDTH, height=HEIGHT, fx=20, fy=20, cx=16, cy=8)


def window_of(*levels: int) -> Window:
    """A window of images whose red is ``levels``."""
    images = tuple(np.full((HEIGHT, WIDTH, 3), [level, 1, 2], dtype=np.uint8) for level in levels)
    return Window(images=images, stamps_ns=tuple(range(len(levels))), intrinsics=_CAMERA)


def depth_graph(
    output: str = "depth", with_features: bool = False, offset: float = 1.0
) -> onnx.ModelProto:
    """Depth = red + 1: reveals which frame and channel arrives. Features: the mean color."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["rgb"], ["float"], to=types.FLOAT),
        helper.make_node("Gather", ["float", "zero"], ["red"], axis=3),
        helper.make_node("Add", ["red", "one"], [output]),
    ]
    outputs = [(output, types.FLOAT, [1, HEIGHT, WIDTH])]
    if with_features:
        nodes += [
            helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("GlobalAveragePool", ["planes"], ["features"]),
        ]
        outputs.append(("features", types.FLOAT, [1, 3, 1, 1]))
    constants = {"zero": np.array(0), "one": np.array(offset, dtype=np.float32)}
    return _model(nodes, ("rgb", types.UINT8, [1, HEIGHT, WIDTH, 3]), outputs, constants)


def pose_graph() -> onnx.ModelProto:
    """The motions `T_0_1` and `T_2_1`, whatever the images show."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["window"], ["float"], to=types.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["no_change"]),
        helper.make_node("Add", ["motions", "no_change"], ["T_source_target"]),
    ]
    constants = {
        "motions": np.stack([T_0_1, T_2_1])[None].astype(np.float32),
        "zero": np.array(0.0, dtype=np.float32),
    }
    given = ("window", types.UINT8, [1, 3, HEIGHT, WIDTH, 3])
    return _model(nodes, given, [_MOTIONS], constants)


def pose_graph_of_features() -> onnx.ModelProto:
    """Translations along z: the red of a source less the target's, by `depth_graph`."""
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Gather", ["features", "sources"], ["of_sources"], axis=1),
        helper.make_node("Gather", ["features", "target"], ["of_target"], axis=1),
        helper.make_node("Sub", ["of_sources", "of_target"], ["difference"]),
        helper.make_node("Gather", ["difference", "red"], ["of_red"], axis=2),
        helper.make_node("Mul", ["of_red", "along_z"], ["translation"]),
        helper.make_node("Add", ["identity", "translation"], ["T_source_target"]),
    ]
    along_z = np.zeros((4, 4), dtype=np.float32)
    along_z[2, 3] = 1.0
    constants = {
        "sources": np.array([0, 2]),
        "target": np.array([1]),
        "red": np.array(0),
        "along_z": along_z,
        "identity": np.eye(4, dtype=np.float32),
    }
    return _model(nodes, ("features", types.FLOAT, [1, 3, 3, 1, 1]), [_MOTIONS], constants)


_MOTIONS = ("T_source_target", onnx.TensorProto.FLOAT, [1, 2, 4, 4])


def _model(
    nodes: list, given: tuple, results: list[tuple], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*given)],
        [helper.make_tensor_value_info(*result) for result in results],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_tiny_bundle(folder: Path, spec: ModelSpec = SPEC) -> Path:
    """A bundle of these graphs, as its ``pose_input`` demands."""
    folder.mkdir(parents=True)
    uses_features = spec.pose_input == "features"
    onnx.save(depth_graph(with_features=uses_features), folder / spec.depth_file)
    pose = pose_graph_of_features() if uses_features else pose_graph()
    onnx.save(pose, folder / spec.pose_file)
    spec.save(folder)
    return folder
