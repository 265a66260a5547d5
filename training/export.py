"""Write a checkpoint as a model bundle: depth.onnx, pose.onnx and model.yaml.

python training/export.py --checkpoint runs/road/last.pt --out sfm_ros/models/road
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import io
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import onnx
import torch
from torch import Tensor, nn

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import SPEC_FILE, ModelSpec
from sfm_ros.outputs.folder import OutputFolder, named_paths, require_room
from sfm_ros.safety.own_process import own_process
from training.batch import target_index
from training.config import METRIC_WEIGHTS, TrainConfig, load_config
from training.data.sequence import PreparedSet
from training.exporting.options import add_variant_options, extended, variant_table
from training.exporting.parity import TOLERANCE, check_parity, largest_difference, window_of
from training.exporting.rewrites import rewritten
from training.exporting.storage import graph_paths
from training.exporting.variants import store_in_half, variant_files
from training.fit.checkpoint import CheckpointError, load_checkpoint, weights_of
from training.fit.run_log import HISTORY, read_history
from training.networks.graphs import graphs_of
from training.networks.intrinsics import SharedIntrinsics
from training.networks.sfm_model import SfmModel, build_model

PROGRAM = "export.py"


def export_bundle(
    model: SfmModel,
    config: TrainConfig,
    out_dir: Path,
    *,
    training_fx: float,
    name: str | None = None,
    licence: str = "",
    card: str = "",
    metrics: dict[str, float] | None = None,
    inputs: Sequence[Path] = (),
    options: argparse.Namespace | None = None,
) -> Path:
    """Write the bundle of a model, after verifying that it computes the same as the model.

    The folder is written completely or not at all; an earlier bundle in it is replaced.

    Args:
        model: on any device, in any mode; it is copied.
        training_fx: mean focal length of the training images, pixels at the network's size.
        inputs: files and folders that are read, which are never replaced.
        options: of the variants to add, see `add_variant_options`; None for none.

    Returns:
        ``out_dir``.

    Raises:
        SfmRosError: a variant cannot be made or measured, see `extended`.
        OutputError: the folder cannot be used, see `OutputFolder`.
        ModelError: the model has no pose network, or the graphs differ from it by more than
            ``TOLERANCE`` before their weights are stored as FP16, if they are.
    """
    if model.pose_net is None:
        raise ModelError(
            "the model has no pose network ('network.pose' is none), which a bundle needs; train "
            "one that starts with its depth: --init CHECKPOINT --init-networks depth"
        )
    deployed = deployed_copy(model)
    out_dir = Path(out_dir)
    spec = dataclasses.replace(
        spec_of(deployed, config, name or out_dir.name, training_fx),
        licence=licence,
        card=card,
        metrics=metrics or {},
    )
    names = [] if options is None else options.variants
    planned = (spec.depth_file, spec.pose_file, *variant_files(names), SPEC_FILE)
    with OutputFolder(out_dir, PROGRAM, inputs, planned) as folder:
        bundle = folder.stage()
        require_room(bundle, (2 + len(names)) * _size(deployed))
        _write_graphs(deployed, spec, bundle)
        check_parity(deployed, spec, bundle)
        if options is not None and options.weights == "fp16":
            store_in_half(bundle, spec)
        spec = extended(bundle, spec, options) if options and names else spec
        spec.save(bundle)
        folder.publish(SPEC_FILE)
    return out_dir


def _size(model: SfmModel) -> int:
    """Bytes of the weights."""
    return sum(weights.numel() * weights.element_size() for weights in model.parameters())


def _write_graphs(model: SfmModel, spec: ModelSpec, bundle: Path) -> None:
    depth, pose = graphs_of(model)
    image = torch.zeros(1, spec.height, spec.width, 3, dtype=torch.uint8)
    window = window_of(depth, [image] * spec.sequence_length)
    depth_path, pose_path = graph_paths(bundle, spec)
    write_graph(depth, [image], ["rgb"], depth.outputs, depth_path)
    write_graph(pose, [window], [pose.input], ("T_source_target",), pose_path)
    for path in (depth_path, pose_path):
        onnx.save(rewritten(onnx.load(path)), path)


def deployed_copy(model: SfmModel) -> SfmModel:
    """A copy of a model for inference, on the CPU in evaluation mode."""
    deployed = copy.deepcopy(model).cpu().float().eval()
    # The graphs are for channels-first runtimes; channels-last is for training.
    deployed.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if deployed.pairwise or deployed.pose_net is None:
        # The motion of a pair does not depend on its window: there is no need to wait for a third
        # frame, or to compute the older pair again.
        deployed.sequence_length = 2
    return deployed


def spec_of(model: SfmModel, config: TrainConfig, name: str, training_fx: float) -> ModelSpec:
    """The contract of a deployed model; hashes are added with the files."""
    network = config.network
    return ModelSpec(
        name=name,
        width=config.width,
        height=config.height,
        sequence_length=model.sequence_length,
        target_index=target_index(model.sequence_length),
        training_fx=float(training_fx),
        metric=is_metric(config),
        min_depth=network.depth_unit / (network.disparity_alpha + network.disparity_beta),
        max_depth=network.depth_unit / network.disparity_beta,
        pose_input="features" if model.uses_features else "pixels",
        canonical_fx=network.canonical_focal * config.width,
        canonical_center=network.canonical_focal > 0,
        canonical_height_m=network.canonical_height,
    )


def is_metric(config: TrainConfig) -> bool:
    """Whether a loss term knows lengths in meters."""
    return any(getattr(config.objective, name) > 0 for name in METRIC_WEIGHTS)


def learned_fx(model: SfmModel, config: TrainConfig) -> float | None:
    """Focal length of the one camera a run has learned, pixels; None if it learned none."""
    if not isinstance(model.camera, SharedIntrinsics):
        return None
    with torch.no_grad():
        return float(model.camera(torch.zeros(1, 1), config.width, config.height)[0, 0, 0])


def mean_training_fx(config: TrainConfig) -> float:
    """Mean focal length over the frames of the prepared sets, pixels at the network's size.

    Raises:
        SourceError: a set of the configuration is missing.
        ModelError: the configuration names none.
    """
    total, count = 0.0, 0
    for path in config.data.prepared:
        for sequence in PreparedSet.open(path).sequences:
            total += sequence.K[0] * sequence.count
            count += sequence.count
    if count == 0:
        raise ModelError("the configuration names no prepared data; give --training-fx PIXELS")
    return total / count


def write_graph(
    graph: nn.Module,
    examples: Sequence[Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str],
    path: Path,
) -> None:
    """Write a module as an ONNX file for inputs of these examples' shapes and types."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        # The exporter reports every missing operator package; none of them is needed.
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            graph,
            tuple(examples),
            str(path),
            input_names=list(input_names),
            output_names=list(output_names),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser(__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--checkpoint", type=Path, required=True, help="a .pt file of train.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--name", help="name of the model (default: that of the folder)")
    parser.add_argument("--licence", default="", help="licence of the weights")
    parser.add_argument("--card", type=Path, help="text file with the model card")
    parser.add_argument(
        "--training-fx",
        type=float,
        help="focal length, pixels (default: learned, else the mean of the prepared data)",
    )
    parser.add_argument(
        "--weights",
        choices=("fp32", "fp16"),
        default="fp32",
        help="as what the weights are stored; fp16 halves the files, all is computed as before",
    )
    add_variant_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; the exit code of `run_program`."""
    if arguments is None:
        own_process("export")
    options = _parse(arguments)
    return run_program("export", lambda: _run(options), "interrupted, nothing was written")


def _run(options: argparse.Namespace) -> int:
    model, config, step = restored_model(options.checkpoint)
    fx = options.training_fx or learned_fx(model, config) or mean_training_fx(config)
    out = export_bundle(
        model, config, options.out, training_fx=fx, name=options.name, licence=options.licence,
        card=options.card.read_text(encoding="utf-8") if options.card else "",
        metrics=measured(options.checkpoint, step), inputs=named_paths(options, "out"),
        options=options,
    )  # fmt: skip
    megabytes = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    agreement = f"agrees with torch to {TOLERANCE:.0e}"
    if options.weights == "fp16":
        largest = largest_difference(deployed_copy(model), ModelSpec.load(out), out)
        agreement = f"with weights stored as FP16 it differs from torch by up to {largest:.0e}"
    print(f"{out}: {megabytes:.1f} MB, {agreement}")
    if options.variants:
        print(variant_table(out, ModelSpec.load(out)))
    return 0


def measured(checkpoint: Path, step: int) -> dict[str, float]:
    """Number of steps of a run, and its validation figures at that step."""
    history = checkpoint.parent / HISTORY
    figures = {"training_steps": float(step)}
    for name, (steps, values) in (read_history(history) if history.is_file() else {}).items():
        if name.startswith("validation/") and step in steps:
            figures[name] = float(values[steps == step][-1])
    return figures


def restored_model(path: Path) -> tuple[SfmModel, TrainConfig, int]:
    """The model of a checkpoint (its moving average if there is one), its configuration and step.

    Raises:
        CheckpointError: it cannot be read, or its weights do not fit its configuration.
    """
    contents = load_checkpoint(path)
    config = load_config(contents["config"])
    model = build_untrained(config)
    try:
        model.load_state_dict(weights_of(contents))
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit its recipe: {error}") from error
    return model, config, contents["step"]


def build_untrained(config: TrainConfig) -> SfmModel:
    """The model of a configuration without ImageNet weights, for weights to be loaded."""
    network = dataclasses.replace(config.network, pretrained=False, encoder_weights="")
    return build_model(network, config.width, config.height)


if __name__ == "__main__":
    raise SystemExit(main())
