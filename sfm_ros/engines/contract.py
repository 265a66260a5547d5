"""Whether the inputs and outputs of two loaded graphs are those of `sfm_ros.model_spec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec

FEATURES = "features"
"""Name of the depth graph's second output, and of the pose graph's input made of it."""
_FEATURE_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph: its name, type as numpy names it, and shape."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __repr__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The inputs and outputs of the graph in a file."""

    file: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]


def check_contract(spec: ModelSpec, depth: Ports, pose: Ports) -> None:
    """Check the inputs and outputs of both graphs.

    Raises:
        ModelError: they are not those of the contract; names what was found and expected.
    """
    size = (spec.height, spec.width, 3)
    rgb = Port("rgb", "uint8", (1, *size))
    outputs = [Port("depth", "float32", (1, spec.height, spec.width))]
    seen = Port("window", "uint8", (1, spec.sequence_length, *size))
    if spec.pose_input == FEATURES:
        features = _feature_port(depth)
        outputs.append(features)
        window = (1, spec.sequence_length, *features.shape[1:])
        seen = Port(FEATURES, "float32", window)
    motions = Port("T_source_target", "float32", (1, spec.sequence_length - 1, 4, 4))
    _expect(depth, [rgb], outputs)
    _expect(pose, [seen], [motions])


def _feature_port(depth: Ports) -> Port:
    """The feature map as the depth graph has it, for the pose graph to be compared with."""
    for port in depth.outputs:
        has_size = all(isinstance(length, int) and length > 0 for length in port.shape)
        if port.name == FEATURES and len(port.shape) == _FEATURE_DIMENSIONS and has_size:
            return Port(FEATURES, "float32", (1, *port.shape[1:]))
    return Port(FEATURES, "float32", (1, "C", "h", "w"))


def _expect(found: Ports, inputs: list[Port], outputs: list[Port]) -> None:
    if list(found.inputs) != inputs or list(found.outputs) != outputs:
        raise ModelError(
            f"{found.file} follows another contract: inputs {list(found.inputs)}, outputs "
            f"{list(found.outputs)}; expected inputs {inputs}, outputs {outputs}; export the "
            "model again with training/export.py"
        )
