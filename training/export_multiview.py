"""Add the multi-view measurement to a model bundle, as a graph that runs on a GPU.

python training/export_multiview.py --bundle sfm_ros/models/road

``multiview.onnx`` has no learned weights: it is `training.geometry.multiview` for the size of the
bundle's images and two sources.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import onnx
import torch
from torch import Tensor

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.model_spec import MULTIVIEW_FILE, MULTIVIEW_INPUTS, MULTIVIEW_OUTPUTS, ModelSpec
from sfm_ros.safety.own_process import own_process
from training.export import write_graph
from training.geometry.multiview import MultiView

SOURCES = 2


def write_multiview(path: Path, width: int, height: int, sources: int = SOURCES) -> None:
    """Write the graph for images of one size; its inputs and outputs are those of the contract.

    Args:
        path: of the file.
        width, height: of the images, pixels.
        sources: number of them; fewer are filled up by repeating one.
    """
    write_graph(
        MultiView(),
        example_inputs(width, height, sources),
        MULTIVIEW_INPUTS,
        MULTIVIEW_OUTPUTS,
        path,
    )
    _remove_traces(path)


def example_inputs(width: int, height: int, sources: int = SOURCES) -> tuple[Tensor, ...]:
    """Images without contrast and motions of one unit, of the contract's shapes and types."""
    T = torch.eye(4).repeat(1, sources, 1, 1)
    T[..., 2, 3] = 1.0
    K = torch.tensor([[[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]]])
    return (
        torch.zeros(1, height, width, dtype=torch.uint8),
        torch.zeros(1, sources, height, width, dtype=torch.uint8),
        T,
        K,
        torch.full((1, height, width), 0.1),
        torch.full((1, height, width), 0.03),
    )


def _remove_traces(path: Path) -> None:
    """Leave out where in the source each node comes from: it is most of the file."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    onnx.save(model, path)


def add_to_bundle(bundle: Path) -> Path:
    """Write the graph into a bundle, and its name and hash into ``model.yaml``; returns the file.

    Raises:
        ModelError: the bundle is damaged.
    """
    spec = ModelSpec.load(bundle)
    path = Path(bundle) / MULTIVIEW_FILE
    write_multiview(path, spec.width, spec.height)
    dataclasses.replace(spec, multiview_file=MULTIVIEW_FILE).save(bundle)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Add the graph; the exit code of `run_program`."""
    if arguments is None:
        own_process("export_multiview")
    parser = program_parser(__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    options = parser.parse_args(arguments)
    return run_program("export_multiview", lambda: _run(options.bundle))


def _run(bundle: Path) -> int:
    path = add_to_bundle(bundle)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
