"""Add graphs of other precisions to a model bundle, and measure what each of them costs.

    python training/add_variants.py --model road --out bundles/road \\
        --variants bf16 fp16 int8 int8_cpu --calibrate prepared/street

Needs the bundle alone, no checkpoint and no torch. The FP32 graphs are rewritten as export.py
writes them now.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.model_spec import SPEC_FILE, ModelSpec
from sfm_ros.outputs.folder import OutputFolder, named_paths, require_room
from sfm_ros.safety.own_process import own_process
from training.exporting.options import add_variant_options, extended, variant_table
from training.exporting.variants import rewrite_graphs, variant_files

PROGRAM = "add_variants.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Add them; the exit code of `run_program`."""
    if arguments is None:
        own_process("add_variants")
    options = _parse(arguments)
    return run_program("add_variants", lambda: _run(options), "interrupted, nothing was written")


def _run(options: argparse.Namespace) -> int:
    print(variant_table(options.out, extend(options)))
    return 0


def extend(options: argparse.Namespace) -> ModelSpec:
    """Write a copy of the bundle with more variants; returns its spec."""
    bundle = resolve_bundle(options.model)
    spec = ModelSpec.load(bundle)
    kept = [v for name, v in spec.variants.items() if name not in options.variants]
    copied = {spec.depth_file, spec.pose_file}
    copied |= {file for v in kept for file in (v.depth_file, v.pose_file)}
    copied |= {spec.multiview_file} - {""}
    planned = (*sorted(copied), *variant_files(options.variants), SPEC_FILE)
    inputs = [bundle, *named_paths(options, "out")]
    with OutputFolder(options.out, PROGRAM, inputs, planned) as folder:
        staged = folder.stage()
        require_room(staged, 3 * sum((bundle / file).stat().st_size for file in copied))
        for file in copied:
            shutil.copyfile(bundle / file, staged / file)
        rewrite_graphs(staged, spec)
        spec = extended(staged, spec, options).save(staged)
        folder.publish(SPEC_FILE)
    return spec


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser(__doc__)
    parser.add_argument("--model", required=True, help="model bundle: folder or name")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    add_variant_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
