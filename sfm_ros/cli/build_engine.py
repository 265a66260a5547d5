"""sfm_build_engine: builds the TensorRT engines of a model for the GPU of this machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sfm_ros.cli.build_progress import BuildReport
from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.config import ModelConfig
from sfm_ros.engines.engine_cache import OWN_FOLDER, SHARED_FOLDERS, CachedEngine, EngineCache
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.engines.registry import ENGINES, candidates
from sfm_ros.engines.tensorrt.bundle import BundleBuilder, Machine, this_machine
from sfm_ros.engines.tensorrt.identity import ANY_GPU
from sfm_ros.errors import EngineError, SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.safety.own_process import own_process

UNAVAILABLE, REFUSED = 3, 4
"""Exit codes: nothing can be built here; the parity gate refused what was built."""

_GRAPHS = 2
_MIB = 2**20

_EXAMPLES = f"""
examples:
  sfm_build_engine road
  sfm_build_engine runs/road/bundle --precision fp16 --cache /opt/robot/engines
  sfm_build_engine --list
  sfm_build_engine --prune

The engines are kept in ${OWN_FOLDER}, by default in sfm_ros/engines of the user's cache
(XDG_CACHE_HOME); those of the folders in ${SHARED_FOLDERS} are used as well, and not written.
TensorRT builds for the GPU of this machine, TensorRT-RTX for any and without one. With a GPU the
engines are compared with ONNX Runtime on stored frames.

exit codes: 0 built, or there already; 1 failed; 2 wrong arguments; {UNAVAILABLE} no GPU or no
library; {REFUSED} refused by the comparison; 130 interrupted
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command."""
    parser = program_parser(__doc__, "sfm_build_engine", _EXAMPLES)
    add = parser.add_argument
    add("model", nargs="?", default=ModelConfig().bundle, help="model bundle: folder or name")
    precisions = ("auto", *ENGINES["tensorrt"].variants)
    numbers = "numbers it computes with; auto: fp16 if the model card allows it, else fp32"
    add("--precision", choices=precisions, default="auto", help=numbers)
    add("--cache", type=Path, metavar="DIR", help="write and search here, and nowhere else")
    add("--force", action="store_true", help="build even if it is there")
    add("--progress-lines", action="store_true", help="print progress for another program")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("--list", action="store_true", help="list the engines in the cache")
    useless = "delete engines of other GPUs, drivers and libraries, and damaged ones"
    others.add_argument("--prune", action="store_true", help=useless)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Build, list or prune; returns the exit code."""
    if arguments is None:
        own_process("sfm_build_engine")
    options = parse(arguments)
    return run_program("sfm_build_engine", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    cache = EngineCache(options.cache, [] if options.cache else None)
    if options.list or options.prune:
        return _list(cache, prune=options.prune)
    bundle = resolve_bundle(options.model)
    model = ModelConfig(bundle=str(bundle), engine="tensorrt", precision=options.precision)
    precision = candidates(ModelSpec.load(bundle), model)[0].precision
    try:
        machine = this_machine()
    except ModuleNotFoundError as error:
        return _unavailable(f"{error}; install it with: {ENGINES['tensorrt'].install}")
    except EngineError as error:
        return _unavailable(str(error))
    report = BuildReport(_GRAPHS, options.progress_lines)
    return _build(BundleBuilder(bundle, precision, machine, cache, report), report, options)


def _unavailable(reason: str) -> int:
    print(f"sfm_build_engine: ERROR: {reason}", file=sys.stderr)
    return UNAVAILABLE


def _build(builder: BundleBuilder, report: BuildReport, options: argparse.Namespace) -> int:
    built = builder.build(options.force)
    report.note(f"built: {', '.join(built)}" if built else "nothing to build: all are cached")
    result = builder.compare(force=bool(built))
    if not builder.can_compare:
        report.note("not compared with ONNX Runtime: no GPU here; run it again where there is one")
    if result is not None:
        report.note(result.text)
        if not result.accepted:
            print(f"sfm_build_engine: ERROR: refused: {result.text}", file=sys.stderr)
            return REFUSED
    if options.progress_lines:
        print("done", flush=True)
    return 0


def _list(cache: EngineCache, prune: bool) -> int:
    """Print the engines of the cache; with ``prune``, delete the useless ones of this user."""
    machine, reason = _machine_or_reason()
    if prune and cache.own.is_dir():
        with cache.locked(lambda text: print(text, file=sys.stderr)):
            cache.remove_leftovers()
            for entry in cache.entries():
                if _useless(entry, machine) and cache.remove(entry):
                    print(f"deleted {entry.path.name}: {_useless(entry, machine)}")
    for line in _rows(cache, machine):
        print(line)
    if machine is None:
        print(f"which are of other machines is unknown here: {reason}", file=sys.stderr)
    return 0


def _machine_or_reason() -> tuple[Machine | None, str]:
    try:
        return this_machine(), ""
    except (SfmRosError, ModuleNotFoundError) as error:
        return None, str(error)


def _useless(entry: CachedEngine, machine: Machine | None) -> str:
    """Why a file cannot be loaded on this machine, or empty."""
    if entry.is_foreign:
        return "foreign, left alone: it is not an engine of this program"
    if entry.identity is None:
        return entry.fault
    if machine is None:
        return ""
    library, found = machine.library, entry.identity
    if (found.library, found.library_version) != (library.name, library.version):
        return f"of {found.library} {found.library_version}"
    gpus = [gpu for gpu in (machine.gpu, ANY_GPU if library.is_rtx else None) if gpu is not None]
    if machine.gpu is None or any(
        (found.gpu, found.compute_capability, found.driver)
        == (gpu.name, gpu.compute_capability, gpu.driver)
        for gpu in gpus
    ):
        return ""
    return f"of GPU {found.gpu}, driver {found.driver}"


def _rows(cache: EngineCache, machine: Machine | None) -> Iterator[str]:
    entries = cache.entries()
    for entry in entries:
        state = _useless(entry, machine) or "ready"
        yield f"{entry.path}: {_about(entry)}{entry.size / _MIB:.1f} MiB, {state}"
    size = sum(entry.size for entry in entries) / _MIB
    yield f"{len(entries)} files, {size:.1f} MiB, in {cache.own}"


def _about(entry: CachedEngine) -> str:
    if entry.identity is None:
        return ""
    found, facts = entry.identity, entry.facts
    written = time.strftime("%Y-%m-%d", time.localtime(float(facts.get("written", 0))))
    names = [str(facts.get("model", "")), str(facts.get("graph", "")), found.precision]
    words = " ".join(name for name in names if name)
    return f"{words}, {found.library} {found.library_version}, GPU {found.gpu}, {written}, "


if __name__ == "__main__":
    sys.exit(main())
