"""The inference engines by name: where they are, what they need, what they compute with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.errors import EngineError

FP32 = "fp32"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineEntry:
    """An engine that can be named in ``model.engine``.

    Attributes:
        module, class_name: where it is; imported only when it is used.
        install: how to install what it needs.
        variants: the variant of the bundle's graphs that it runs, by precision.
        is_gpu: whether it needs an NVIDIA GPU.
    """

    module: str
    class_name: str
    install: str
    variants: Mapping[str, str]
    is_gpu: bool = False


ENGINES: dict[str, EngineEntry] = {
    "tensorrt": EngineEntry(
        module="sfm_ros.engines.tensorrt_engine",
        class_name="TensorRtEngine",
        install="pip install tensorrt cuda-bindings (Jetson: TensorRT comes with JetPack)",
        variants={FP32: FP32, "fp16": "fp16", "int8": "int8"},
        is_gpu=True,
    ),
    "cuda": EngineEntry(
        module="sfm_ros.engines.onnx_engine",
        class_name="CudaEngine",
        install="pip install onnxruntime-gpu, after pip uninstall onnxruntime",
        variants={FP32: FP32, "fp16": "fp16"},
        is_gpu=True,
    ),
    "openvino": EngineEntry(
        module="sfm_ros.engines.openvino_engine",
        class_name="OpenVinoEngine",
        install="pip install openvino",
        variants={FP32: FP32, "bf16": "bf16", "int8": "int8_cpu"},
    ),
    "onnx": EngineEntry(
        module="sfm_ros.engines.onnx_engine",
        class_name="OnnxEngine",
        install="pip install onnxruntime",
        variants={FP32: FP32, "int8": "int8_cpu"},
    ),
}
"""In the order in which ``auto`` tries them."""


def graph_variant(engine: str, config: ModelConfig) -> str:
    """The variant of the bundle's graphs that an engine runs for a precision; auto is fp32.

    Raises:
        EngineError: the engine cannot compute with this precision.
    """
    precision = FP32 if config.precision == "auto" else config.precision
    variants = ENGINES[engine].variants
    if precision not in variants:
        raise EngineError(
            f"the inference engine {engine} does not compute in {precision}, expected one of: "
            f"{', '.join(variants)}"
        )
    return variants[precision]


def load_engine(name: str, bundle: Path, config: ModelConfig) -> Engine:
    """Load a bundle with the engine of this name.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed or cannot be loaded, or the engine does
            not work on this machine.
    """
    entry = ENGINES[name]
    config = replace(config, engine=name)
    graph_variant(name, config)
    try:
        engine_class = getattr(importlib.import_module(entry.module), entry.class_name)
        return engine_class(bundle, config)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"the inference engine {name} is not installed ({error}); install it with: "
            f"{entry.install}"
        ) from error
    # The library is there, but the memory does not suffice for it, or a part of it is missing.
    except (ImportError, MemoryError) as error:
        reason = str(error) or "the memory does not suffice"
        raise EngineError(f"the inference engine {name} cannot be loaded: {reason}") from error
