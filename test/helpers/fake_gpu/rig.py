"""A machine with a fake GPU, a TensorRT version, a small bundle and its built engines."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fake_gpu.cuda import FakeCuda
from fake_gpu.tensorrt import FakeTensorRt, plan_of
from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.engines.engine_cache import EngineCache
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.engines.parity import ParityResult
from sfm_ros.engines.tensorrt import cuda as cuda_module
from sfm_ros.engines.tensorrt.cuda import Cuda
from sfm_ros.engines.tensorrt.gate import record
from sfm_ros.engines.tensorrt.identity import engine_identities
from sfm_ros.engines.tensorrt.library import load_library
from sfm_ros.engines.tensorrt_engine import TensorRtEngine
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window

W, H, N = 8, 4, 3
SIZE = (H, W, 3)
DEPTH = plan_of("depth", {"rgb": ("UINT8", (1, *SIZE))}, {"depth": ("FLOAT", (1, H, W))})
MOTIONS = {"T_source_target": ("FLOAT", (1, N - 1, 4, 4))}
POSE = plan_of("pose", {"window": ("UINT8", (1, N, *SIZE))}, MOTIONS)
DEPTH_AND_FEATURES = plan_of(
    "depth",
    {"rgb": ("UINT8", (1, *SIZE))},
    {"depth": ("FLOAT", (1, H, W)), "features": ("FLOAT", (1, 3, 1, 1))},
)
POSE_OF_FEATURES = plan_of("pose", {"features": ("FLOAT", (1, N, 3, 1, 1))}, MOTIONS)


@dataclass
class GpuRig:
    """See the module; ``install`` must have been called."""

    cuda: FakeCuda
    trt: FakeTensorRt
    bundle: Path
    cache: EngineCache
    monkeypatch: pytest.MonkeyPatch

    def use(self, cuda: FakeCuda, kind: str) -> None:
        """Make this the machine's GPU and TensorRT."""
        self.cuda, self.trt = cuda, FakeTensorRt(kind, cuda)
        install(self.monkeypatch, self.trt)

    def store(self, depth: bytes = DEPTH, pose: bytes = POSE, accepted: bool = True) -> None:
        """Put built engines into the cache, with the result of their comparison."""
        spec, gpu = ModelSpec.load(self.bundle), Cuda().gpu
        identities = engine_identities(load_library(), gpu, spec, "fp32")
        for identity, plan in zip(identities, (depth, pose), strict=True):
            self.cache.store(identity, plan, {})
        result = ParityResult(accepted=accepted, text="depth median 0.3")
        record(self.cache, identities, gpu, result)

    def open(self) -> TensorRtEngine:
        """The engine, from the cache."""
        return TensorRtEngine(self.bundle, ModelConfig(), self.cache)

    def check_released(self) -> None:
        """Nothing is left, and nothing was deleted in a wrong order."""
        assert (self.cuda.live, self.trt.alive, self.trt.faults) == ({}, [], [])


def install(patch: pytest.MonkeyPatch, trt: FakeTensorRt) -> None:
    """Make this process see a GPU and this version of TensorRT."""
    patch.setattr(cuda_module, "has_driver", lambda: True)
    patch.setattr(cuda_module, "_imported_runtime", lambda: trt.cuda)
    is_rtx = trt.kind == "RTX"
    patch.setitem(sys.modules, "tensorrt", None if is_rtx else trt)
    patch.setitem(sys.modules, "tensorrt_rtx", trt if is_rtx else None)


def make_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "10") -> GpuRig:
    """A rig with a bundle, and an empty cache."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    spec = fake_spec(width=W, height=H, sequence_length=N)
    for file in (spec.depth_file, spec.pose_file):
        (bundle / file).write_bytes(f"graph of {file}".encode())
    replace(spec, target_index=0).save(bundle)
    cuda = FakeCuda()
    cache = EngineCache(tmp_path / "cache", [])
    rig = GpuRig(cuda, FakeTensorRt(kind, cuda), bundle, cache, monkeypatch)
    rig.use(cuda, kind)
    return rig


def frame(red: int) -> np.ndarray:
    return np.full(SIZE, [red, 1, 2], np.uint8)


def window_of(*frames: np.ndarray) -> Window:
    """A window of these images; the fake networks look at nothing else."""
    camera = CameraIntrinsics(width=W, height=H, fx=5, fy=5, cx=4, cy=2)
    return Window(images=frames, stamps_ns=tuple(range(len(frames))), intrinsics=camera)
