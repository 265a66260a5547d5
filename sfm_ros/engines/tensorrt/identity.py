"""What an engine of this machine depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sfm_ros.engines.engine_cache import EngineIdentity
from sfm_ros.engines.tensorrt.builder import build_flags
from sfm_ros.engines.tensorrt.cuda import Gpu
from sfm_ros.engines.tensorrt.library import Library
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import ModelSpec

ANY_GPU = Gpu(name="any", compute_capability="8.0 and later", driver="any")
"""The device of TensorRT-RTX's engines, which are built ahead of time, on any machine."""


def engine_identities(
    library: Library, gpu: Gpu | None, spec: ModelSpec, variant: str
) -> tuple[EngineIdentity, EngineIdentity]:
    """The identities of the depth and of the pose engine of a bundle.

    Args:
        library: that builds and runs them.
        gpu: that they run on; not needed for TensorRT-RTX.
        spec: of the bundle.
        variant: of the bundle's graphs, such as ``fp16``.

    Raises:
        EngineError: TensorRT builds for the GPU of this machine, and there is none.
    """
    target = ANY_GPU if library.is_rtx else gpu
    if target is None:
        raise EngineError(
            f"{library.name} builds engines on the GPU that runs them: there is none"
        )
    graphs = spec.graphs(variant)
    size = f"{spec.height}x{spec.width}x3"

    def identity(sha256: str, shapes: str) -> EngineIdentity:
        return EngineIdentity(
            onnx_sha256=sha256,
            library=library.name,
            library_version=library.version,
            gpu=target.name,
            compute_capability=target.compute_capability,
            driver=target.driver,
            precision=variant,
            shapes=shapes,
            flags=build_flags(library),
        )

    window = f"{spec.pose_input} of 1x{spec.sequence_length}x{size}"
    return identity(graphs.depth_sha256, f"rgb 1x{size}"), identity(graphs.pose_sha256, window)


def kernels_identity(identity: EngineIdentity, gpu: Gpu) -> EngineIdentity:
    """Of the kernels that TensorRT-RTX compiles for a GPU when it loads an engine."""
    return replace(_on(identity, gpu), flags=f"{identity.flags}, kernels")


def timings_identity(identity: EngineIdentity) -> EngineIdentity:
    """Of the times of kernels that a build measures; they serve every graph on that GPU."""
    return replace(identity, onnx_sha256="", precision="", shapes="", flags="timing cache")


def parity_identity(identities: Sequence[EngineIdentity], gpu: Gpu) -> EngineIdentity:
    """Of the result of comparing the engines of a bundle with a reference on a GPU."""
    both = " ".join(identity.onnx_sha256 for identity in identities)
    first = _on(identities[0], gpu)
    return replace(first, onnx_sha256=both, flags=f"{first.flags}, parity")


def _on(identity: EngineIdentity, gpu: Gpu) -> EngineIdentity:
    return replace(
        identity,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
    )
