"""The inference engines by name: where they are, what they need, what they compute with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.model_variants import FP32_GRAPHS, GraphVariant

FP32, AUTO = "fp32", "auto"
MOST_LOSS = 0.02
"""A smaller type may cost this much of abs_rel and of t_err, relative to FP32."""


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
        install="pip install tensorrt 'cuda-bindings>=12.6,<14' (Jetson: TensorRT comes with "
        "JetPack, cuda-bindings 12 for JetPack 6)",
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
CPU_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")
"""Packages with the libraries of the engines that run on the processor."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine and what it computes in."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"

    def load(self, bundle: Path, config: ModelConfig) -> Engine:
        """Load a bundle, see `load_engine`."""
        return load_engine(self.engine, bundle, replace(config, precision=self.precision))


def candidates(spec: ModelSpec, config: ModelConfig) -> list[Candidate]:
    """The engines and precisions that a configuration admits, those to be preferred first.

    With ``precision: auto`` that is FP32, and what costs less than `MOST_LOSS` according to the
    model card; on a GPU, where the fastest is not measured, FP16 comes before FP32.

    Raises:
        EngineError: no engine that is admitted computes in this precision.
        ModelError: the bundle has no graphs of this precision.
    """
    names = list(ENGINES) if config.engine == AUTO else [config.engine]
    if config.precision != AUTO:
        return _of_precision(spec, names, config.precision)
    return [
        Candidate(name, precision)
        for name in names
        for precision in _admitted(spec, ENGINES[name])
    ]


def _of_precision(spec: ModelSpec, names: list[str], precision: str) -> list[Candidate]:
    able = [name for name in names if precision in ENGINES[name].variants]
    named = ModelConfig(precision=precision)
    variants = {name: graph_variant(name, named) for name in able or names}
    with_graphs = [n for n, v in variants.items() if v in (*FP32_GRAPHS, *spec.variants)]
    if not with_graphs:
        spec.graphs(next(iter(variants.values())))  # names what the bundle has
    return [Candidate(name, precision) for name in with_graphs]


def _admitted(spec: ModelSpec, entry: EngineEntry) -> list[str]:
    reduced = [
        precision
        for precision, variant in entry.variants.items()
        if precision != FP32 and _costs_little(spec.variants.get(variant))
    ]
    if entry.is_gpu:
        return [*(p for p in reduced if p == "fp16"), FP32]
    return [FP32, *reduced]


def _costs_little(variant: GraphVariant | None) -> bool:
    """Whether the model card states it; what was not measured is not assumed."""
    return variant is not None and variant.loss is not None and variant.loss < MOST_LOSS


def concrete(config: ModelConfig) -> ModelConfig:
    """The configuration with FP32 instead of ``precision: auto``."""
    return replace(config, precision=FP32) if config.precision == AUTO else config


def graph_variant(engine: str, config: ModelConfig) -> str:
    """The variant of the bundle's graphs that an engine runs for a precision; auto is fp32.

    Raises:
        EngineError: the engine cannot compute in this precision.
    """
    variants, precision = ENGINES[engine].variants, concrete(config).precision
    if precision not in variants:
        raise EngineError(
            f"the inference engine {engine} does not compute in {precision}, expected one of: "
            f"{', '.join(variants)}"
        )
    return variants[precision]


def load_engine(name: str, bundle: Path, config: ModelConfig) -> Engine:
    """Load a bundle with the engine of this name; ``precision: auto`` is FP32.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed or cannot be loaded, or the engine does
            not work on this machine.
    """
    entry = ENGINES[name]
    config = concrete(replace(config, engine=name))
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
