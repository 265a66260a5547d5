"""Creates the engine of a configuration."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.build_process import BuildProcess
from sfm_ros.engines.choice import CpuChoice, Failures, Report, first_that_loads, silent
from sfm_ros.engines.registry import AUTO, ENGINES, Candidate, candidates
from sfm_ros.engines.switching import Fallback, Prepare, Reports, SwitchingEngine
from sfm_ros.errors import EngineError, EngineNotBuiltError, ModelError, SfmRosError
from sfm_ros.model_spec import ModelSpec

MODELS = Path(__file__).resolve().parents[1] / "models"
DEFAULT_MODEL = "road"
KITTI_MODEL = "kitti"


def bundle_for(bundle: str, is_kitti: bool) -> str:
    """The bundle to load: KITTI's drives and sequences get their own unless one is named."""
    return KITTI_MODEL if is_kitti and bundle == ModelConfig().bundle else bundle


def resolve_bundle(bundle: str) -> Path:
    """Folder of a bundle, given as a path, the name of a shipped model, or ``default``.

    Raises:
        ModelError: no such folder or model.
    """
    shipped = MODELS / (DEFAULT_MODEL if bundle == "default" else bundle)
    if "/" not in bundle and shipped.is_dir():
        return shipped
    path = Path(bundle).expanduser()
    if path.is_dir():
        return path
    names = sorted(p.name for p in MODELS.iterdir() if p.is_dir()) if MODELS.is_dir() else []
    raise ModelError(
        f"no model '{bundle}': it is neither a folder nor a shipped model "
        f"({', '.join(names) or 'none is shipped with this installation'})"
    )


def create_engine(config: ModelConfig) -> Engine:
    """Load the bundle with the configured engine; ``auto`` takes the first that is ready.

    No time is measured, so that a second run computes the same: on a CPU that is FP32.

    Raises:
        ModelError: the bundle is missing, damaged or follows another contract.
        EngineError: the engine's library is not installed, or it does not work on this machine.
    """
    plan = _Plan.of(config)
    return plan.gpu_engine() or plan.cpu_choice().first()


def fastest_engine(config: ModelConfig, report: Report = silent) -> Engine:
    """As `create_engine`, but ``auto`` takes the fastest on this machine.

    On a CPU the candidates are measured for a second or two unless the fastest is remembered.

    Args:
        config: of the model.
        report: gets a line on what was measured and chosen.

    Raises:
        ModelError, EngineError: as `create_engine`.
    """
    plan = _Plan.of(config, report)
    engine = plan.gpu_engine()
    if engine is not None:
        return engine
    choice = plan.cpu_choice()
    return choice.remembered() or choice.measured()


def start_engine(config: ModelConfig) -> Engine:
    """As `fastest_engine`, but without waiting: what takes time happens beside the first frames.

    Nothing does so until `SwitchingEngine.start`. An engine that is named does not give way to
    another one.

    Raises:
        ModelError, EngineError: as `create_engine`.
    """
    reports = Reports()
    plan = _Plan.of(config, reports)
    improvements: list[Prepare] = []
    engine = plan.gpu_engine()
    if engine is None:
        choice = plan.cpu_choice()
        engine = choice.remembered()
        if engine is None:
            engine = choice.first()
            reports(f"engine {engine.name} {engine.precision} to begin with")
            improvements.append(_measuring(choice))
    if config.engine == AUTO:
        improvements += [BuildProcess(c, plan.bundle, config).prepare for c in plan.not_built]
    if not improvements and config.engine != AUTO:
        return engine
    return SwitchingEngine(engine, improvements, plan.fallback(), reports)


def _measuring(choice: CpuChoice) -> Prepare:
    def prepare(progress: Callable[[str], object], stop: threading.Event) -> Engine:
        progress("measuring which engine is the fastest")
        return choice.measured(stop)

    return prepare


@dataclass(kw_only=True)
class _Plan:
    """The candidates of a configuration, and what has been found out about them.

    Attributes:
        bundle, spec, config: the model.
        among: the candidates, those to be preferred first.
        report: gets lines on what was measured and chosen.
        not_built: would work here, but have to be built first; at most one.
    """

    bundle: Path
    spec: ModelSpec
    config: ModelConfig
    among: list[Candidate]
    report: Report
    not_built: list[Candidate] = field(default_factory=list)

    @staticmethod
    def of(config: ModelConfig, report: Report = silent) -> _Plan:
        bundle = resolve_bundle(config.bundle)
        spec = ModelSpec.load(bundle)
        among = candidates(spec, config)
        return _Plan(bundle=bundle, spec=spec, config=config, among=among, report=report)

    def gpu_engine(self) -> Engine | None:
        """The first engine on a GPU that is ready."""
        errors: list[SfmRosError] = []
        failures = Failures(self.report)
        for candidate in self.among:
            if not ENGINES[candidate.engine].is_gpu:
                continue
            try:
                engine = candidate.load(self.bundle, self.config)
            except (EngineError, ModelError) as error:
                errors.append(error)
                failures.add(candidate, error)
                if isinstance(error, EngineNotBuiltError):
                    self.not_built = self.not_built or [candidate]
            else:
                self.report(f"engine {candidate}", False)
                return engine
        if errors and not self._on_cpu():
            raise errors[0]
        return None

    def _on_cpu(self) -> list[Candidate]:
        return [c for c in self.among if not ENGINES[c.engine].is_gpu]

    def cpu_choice(self) -> CpuChoice:
        return CpuChoice(self.bundle, self.spec, self.config, self._on_cpu(), self.report)

    def fallback(self) -> Fallback:
        """Engines that have not failed, while ``auto`` leaves the choice; else the failure."""
        failed: set[str] = set()

        def next_engine(engine: Engine, error: SfmRosError) -> Engine:
            failed.add(engine.name)
            left = [c for c in self.among if c.engine not in failed]
            if self.config.engine != AUTO or not left:
                raise error
            self.cpu_choice().forget()
            try:
                return first_that_loads(left, self.bundle, self.config, Failures(self.report))
            except SfmRosError as others:
                raise error from others

        return next_engine
