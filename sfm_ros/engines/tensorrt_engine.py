"""TensorRT 8.6, 10, 11 or TensorRT-RTX on an NVIDIA GPU, from engines that were built before.

Only the resized frame travels: uint8 in, depth and 4x4 out. Depth and pose run beside each other,
each on its own stream.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import numpy.typing as npt

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines.contract import check_contract
from sfm_ros.engines.engine_cache import EngineCache, EngineIdentity
from sfm_ros.engines.registry import graph_variant
from sfm_ros.engines.tensorrt.cuda import Cuda
from sfm_ros.engines.tensorrt.gate import require_accepted
from sfm_ros.engines.tensorrt.graph import CompiledGraph
from sfm_ros.engines.tensorrt.identity import engine_identities, kernels_identity
from sfm_ros.engines.tensorrt.library import Library, load_library
from sfm_ros.engines.window_runner import WindowRunner
from sfm_ros.errors import EngineError, OutputError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


class TensorRtEngine:
    """Runs the built engines of a model bundle; it builds none, which takes minutes.

    Args:
        bundle: its folder.
        config: ``precision`` is used.
        cache: where the engines are; by default that of this user.
        is_checked: whether only engines that passed the parity gate are loaded.
        uses_graph: whether all calls of an inference are captured as one CUDA graph.

    Raises:
        ModelError: the bundle is damaged, or an engine breaks the contract.
        ModuleNotFoundError: cuda-bindings or TensorRT is not installed.
        EngineNotBuiltError: this machine could run them, but none are cached, or they were not
            compared with a reference yet.
        EngineError: there is no GPU, it or TensorRT failed, or the parity gate refused them.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Path,
        config: ModelConfig | None = None,
        cache: EngineCache | None = None,
        is_checked: bool = True,
        uses_graph: bool = True,
    ) -> None:
        self.precision = graph_variant(self.name, config or ModelConfig())
        # Before the graphs are hashed, and before anything of TensorRT is made.
        cuda = Cuda(uses_graph)
        self.spec = ModelSpec.load(bundle)
        graphs = self.spec.graphs(self.precision)
        library = load_library()
        cache = cache or EngineCache()
        identities = engine_identities(library, cuda.gpu, self.spec, self.precision)
        if is_checked:
            require_accepted(cache, identities, cuda.gpu)
        with ExitStack() as opened:
            self._depth = _open(cache, identities[0], cuda, library, graphs.depth_file)
            opened.callback(self._depth.close)
            self._pose = _open(cache, identities[1], cuda, library, graphs.pose_file)
            opened.callback(self._pose.close)
            check_contract(self.spec, self._depth.ports, self._pose.ports)
            self._owner = opened.pop_all()
        captured = self._depth.is_captured and self._pose.is_captured
        self.about = (
            f"{library.name} {library.version}, {self.precision}, {cuda.gpu.name}, CUDA "
            f"{cuda.gpu.driver}{'' if captured else ', without a CUDA graph'}"
        )
        self._runner = WindowRunner(self.spec, self._run_depth, self._run_pose, self._run_both)

    def infer(self, window: Window) -> Prediction:
        """See `Engine.infer`."""
        return self._runner.infer(window)

    def close(self) -> None:
        """Release the GPU's memory; the engine cannot be used afterwards."""
        self._owner.close()

    def _run_depth(self, rgb: npt.NDArray) -> tuple[npt.NDArray, ...]:
        self._depth.start(rgb)
        return self._depth.finish()

    def _run_pose(self, seen: npt.NDArray) -> npt.NDArray:
        self._pose.start(seen)
        return self._pose.finish()[0]

    def _run_both(self, images: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """Depth of the newest image and the motions of a window, at the same time."""
        self._depth.start(images[:, -1])
        self._pose.start(images)
        return self._depth.finish()[0], self._pose.finish()[0]


def _open(
    cache: EngineCache, identity: EngineIdentity, cuda: Cuda, library: Library, file: str
) -> CompiledGraph:
    """Load a plan; what TensorRT-RTX compiles for the GPU then is kept for the next time."""
    plan, kernels = cache.load(identity), b""
    of_kernels = kernels_identity(identity, cuda.gpu)
    if library.is_rtx:
        with suppress(EngineError):
            kernels = cache.load(of_kernels)
    graph = CompiledGraph(cuda, library, plan, file, kernels)
    if graph.kernels != kernels:
        with suppress(OutputError):  # they are compiled again next time
            cache.store(of_kernels, graph.kernels, {"graph": f"kernels of {file}"})
    return graph
