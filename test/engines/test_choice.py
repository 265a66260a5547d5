"""The fastest engine on a processor: candidates, measurement, memory and the parity gate."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines import choice, choice_memory, registry
from sfm_ros.engines.choice import CpuChoice, by_speed, waited_s
from sfm_ros.engines.choice_memory import ChoiceMemory, machine_key
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.engines.registry import Candidate, candidates
from sfm_ros.errors import EngineError, ModelError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.model_variants import GraphVariant
from sfm_ros.window import Window

ONNX, OPENVINO = Candidate("onnx", "fp32"), Candidate("openvino", "fp32")
BF16, INT8 = Candidate("openvino", "bf16"), Candidate("openvino", "int8")
AMONG = [OPENVINO, BF16, INT8, ONNX]
SPEC = fake_spec(width=64, height=32)


def variant(abs_rel: float = 0.001, t_err: float = 0.001) -> GraphVariant:
    metrics = {"abs_rel_change": abs_rel, "t_err_change": t_err}
    return GraphVariant(depth_file="d.onnx", pose_file="p.onnx", metrics=metrics)


class Machine:
    """A machine on which inferences take given times; load and close are counted.

    Attributes:
        ms: by candidate; those that are missing do not load.
        wrong: candidates whose depth is twice as large as it should be.
        fails: candidates whose inference fails.
        refuses: candidates that refuse the bundle.
        reason: why candidates are missing, if it is the same for all.
        waiting: share of the time for which other programs have the processor.
    """

    def __init__(self, ms: dict[Candidate, float]) -> None:
        self.ms, self.wrong, self.fails = ms, set(), set()  # type: ignore[var-annotated]
        self.refuses: set[Candidate] = set()
        self.reason = ""
        self.now_s, self.waiting = 100.0, 0.0
        self.loaded: list[Candidate] = []
        self.open: list[Candidate] = []
        self.lines: list[str] = []

    def load(self, name: str, bundle: Path, config: ModelConfig) -> FakeEngine:
        candidate = Candidate(name, config.precision)
        if candidate in self.refuses:
            raise ModelError(f"{candidate} cannot load it")
        if candidate not in self.ms:
            raise EngineError(self.reason or f"{candidate} is not installed")
        self.loaded.append(candidate)
        return Timed(self, candidate)

    def choice(self, among: list[Candidate] = AMONG, threads: int = 2) -> CpuChoice:
        config = ModelConfig(threads=threads)
        clocks = (lambda: self.now_s), (lambda: self.waiting * self.now_s)
        return CpuChoice(Path("bundle"), SPEC, config, among, self._report, *clocks)

    def _report(self, text: str, is_problem: bool) -> None:
        assert is_problem == ("is not used" in text)
        self.lines.append(text)


class Timed(FakeEngine):
    """Advances the machine's clock."""

    def __init__(self, machine: Machine, candidate: Candidate) -> None:
        super().__init__(SPEC)
        self.name, self.precision = candidate.engine, candidate.precision
        self._machine, self._candidate = machine, candidate
        machine.open.append(candidate)

    def infer(self, window: Window) -> Prediction:
        self._machine.now_s += 1e-3 * self._machine.ms[self._candidate]
        if self._candidate in self._machine.fails:
            raise EngineError(f"{self._candidate} failed")
        found = super().infer(window)
        factor = 2.0 if self._candidate in self._machine.wrong else 1.0
        return dataclasses.replace(found, depth=np.float32(factor) * found.depth)

    def close(self) -> None:
        self._machine.open.remove(self._candidate)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sfm_ros" / "choices"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine({OPENVINO: 10.0, BF16: 6.0, INT8: 8.0, ONNX: 17.0})
    monkeypatch.setattr(registry, "load_engine", made.load)
    yield made
    assert len(made.open) <= 1, "only the winner is left open"


def kind(engine: object) -> Candidate:
    return Candidate(engine.name, engine.precision)  # type: ignore[attr-defined]


# ---- candidates ---------------------------------------------------------------------------------


def spec_with(**variants: GraphVariant) -> ModelSpec:
    return dataclasses.replace(SPEC, variants=variants)


def on_cpu(spec: ModelSpec, **config: str) -> list[str]:
    found = candidates(spec, ModelConfig(**config))
    return [str(c) for c in found if not registry.ENGINES[c.engine].is_gpu]


def test_what_the_model_card_does_not_measure_is_not_a_candidate() -> None:
    assert on_cpu(SPEC) == ["openvino fp32", "onnx fp32"]
    unmeasured = dataclasses.replace(variant(), metrics={"abs_rel_change": 0.0})
    assert on_cpu(spec_with(bf16=unmeasured)) == ["openvino fp32", "onnx fp32"]


@pytest.mark.parametrize(("loss", "is_admitted"), [(0.0199, True), (0.0201, False), (-0.3, True)])
def test_a_loss_of_two_percent_is_the_limit(loss: float, is_admitted: bool) -> None:
    for one in (variant(abs_rel=loss), variant(t_err=loss)):
        assert ("openvino bf16" in on_cpu(spec_with(bf16=one))) == is_admitted


def test_candidates_of_each_engine() -> None:
    spec = spec_with(bf16=variant(), fp16=variant(), int8=variant(), int8_cpu=variant())
    assert on_cpu(spec) == [
        "openvino fp32", "openvino bf16", "openvino int8", "onnx fp32", "onnx int8",
    ]  # fmt: skip
    assert [str(c) for c in candidates(spec, ModelConfig())][:4] == [
        "tensorrt fp16", "tensorrt fp32", "cuda fp16", "cuda fp32",
    ]  # fmt: skip
    assert on_cpu(spec, engine="onnx") == ["onnx fp32", "onnx int8"]


def test_a_named_precision_needs_no_measured_loss() -> None:
    spec = spec_with(int8_cpu=variant(abs_rel=0.4))
    assert on_cpu(spec, precision="int8") == ["openvino int8", "onnx int8"]
    assert on_cpu(spec, precision="bf16") == ["openvino bf16"]
    with pytest.raises(ModelError, match="no graphs for 'fp16'"):
        candidates(spec, ModelConfig(precision="fp16"))
    with pytest.raises(EngineError, match="onnx does not compute in bf16"):
        candidates(spec, ModelConfig(engine="onnx", precision="bf16"))


# ---- measurement --------------------------------------------------------------------------------


def test_the_fastest_is_chosen_and_remembered(machine: Machine) -> None:
    chooser = machine.choice()
    assert chooser.remembered() is None
    engine = chooser.measured()
    assert kind(engine) == BF16
    (line,) = machine.lines
    assert "engine openvino bf16, the fastest here (openvino fp32 10.0 ms" in line
    engine.close()
    machine.loaded.clear()
    again = machine.choice().remembered()
    assert again is not None and kind(again) == BF16
    assert machine.loaded == [BF16]
    assert "as measured before (openvino fp32 10.0 ms, openvino bf16 6.0 ms" in machine.lines[-1]


def test_the_measurement_takes_a_second_or_two(machine: Machine) -> None:
    machine.ms = dict.fromkeys(AMONG, 200.0)
    machine.choice().measured().close()
    slow_s = machine.now_s - 100.0
    machine.now_s, machine.ms = 100.0, dict.fromkeys(AMONG, 5.0)
    machine.choice(threads=3).measured()
    assert machine.now_s - 100.0 < 2.5 and slow_s < 8.0


def test_a_stopped_measurement_ends_at_once(machine: Machine) -> None:
    stop = threading.Event()
    stop.set()
    assert kind(machine.choice().measured(stop)) == BF16
    assert machine.now_s - 100.0 < 0.5


def test_a_smaller_type_has_to_be_clearly_faster() -> None:
    assert by_speed({ONNX: 10.0, BF16: 9.2})[0] == ONNX
    assert by_speed({ONNX: 10.0, BF16: 8.9})[0] == BF16
    assert by_speed({ONNX: 10.0, OPENVINO: 9.9})[0] == OPENVINO


def test_what_does_not_load_or_fails_is_left_out(machine: Machine) -> None:
    del machine.ms[OPENVINO]
    machine.fails = {BF16}
    assert kind(machine.choice().measured()) == INT8
    assert "bf16" not in machine.lines[-1]


def test_without_any_engine_the_reasons_are_named(machine: Machine) -> None:
    machine.ms = {ONNX: 1.0}
    machine.fails = {ONNX}
    with pytest.raises(EngineError, match="openvino bf16 is not installed.*onnx fp32 failed"):
        machine.choice().measured()
    machine.ms = {}
    with pytest.raises(EngineError, match="openvino bf16 is not installed"):
        machine.choice().first()
    with pytest.raises(EngineError, match="^onnx fp32 is not installed$"):
        machine.choice([ONNX]).first()


def test_an_engine_that_computes_something_else_is_refused(machine: Machine) -> None:
    machine.wrong = {BF16, INT8}
    assert kind(machine.choice().measured()) == OPENVINO
    refusals = [line for line in machine.lines if "is not used" in line]
    assert len(refusals) == 2 and "depth median 1, limit 0.02" in refusals[0]


def test_a_refusal_is_reported_again_at_the_next_start(machine: Machine) -> None:
    machine.wrong = {BF16, INT8}
    machine.choice().measured().close()
    refusals = [line for line in machine.lines if "is not used" in line]
    machine.lines.clear()
    engine = machine.choice().remembered()
    assert engine is not None and kind(engine) == OPENVINO
    assert machine.lines[:-1] == refusals and "as measured before" in machine.lines[-1]


def test_a_reason_is_reported_once_for_an_engine(machine: Machine) -> None:
    machine.ms = {ONNX: 17.0}
    machine.reason = "openvino is not installed"
    chooser = machine.choice()
    chooser.first().close()
    assert kind(chooser.measured()) == ONNX
    assert machine.lines[0] == "engine openvino fp32 is left out: openvino is not installed"
    assert len(machine.lines) == 2 and "the fastest here" in machine.lines[1]


def test_a_bundle_that_no_library_loads_is_a_model_error(machine: Machine) -> None:
    machine.refuses = {OPENVINO, BF16, INT8}
    assert kind(machine.choice().measured()) == ONNX
    assert machine.lines[0] == "engine openvino fp32 is not used: openvino fp32 cannot load it"
    machine.open.clear()
    machine.refuses = {BF16, INT8}
    del machine.ms[OPENVINO], machine.ms[ONNX]
    for load in (machine.choice().first, machine.choice().measured):
        with pytest.raises(ModelError, match="^openvino bf16 cannot load it$"):
            load()


def test_a_choice_whose_bundle_is_refused_is_forgotten(machine: Machine) -> None:
    path = remembered(machine)
    machine.refuses = {BF16}
    assert machine.choice().remembered() is None
    assert not path.exists()


def test_onnx_runtime_is_the_reference(machine: Machine) -> None:
    machine.wrong = {OPENVINO, BF16, INT8}
    assert kind(machine.choice().measured()) == ONNX


def test_a_single_candidate_is_not_measured(machine: Machine) -> None:
    engine = machine.choice([INT8]).remembered()
    assert engine is not None and kind(engine) == INT8 and machine.now_s == 100.0


# ---- memory -------------------------------------------------------------------------------------


def remembered(machine: Machine) -> Path:
    """The file of a choice that was measured."""
    machine.choice().measured().close()
    (path,) = Path(machine.choice()._memory.path).parent.iterdir()
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[1, 2]",
        b'{"of": 3}',
        b'{"of": {}, "chosen": {"engine": "onnx", "precision": "fp32"}, "milliseconds": {}}',
    ],
)
def test_a_damaged_memory_is_measured_again(machine: Machine, content: bytes) -> None:
    path = remembered(machine)
    path.write_bytes(content)
    assert machine.choice().remembered() is None
    assert kind(machine.choice().measured()) == BF16
    assert json.loads(path.read_text())["chosen"] == {"engine": "openvino", "precision": "bf16"}


def test_a_choice_that_is_no_candidate_is_measured_again(machine: Machine) -> None:
    path = remembered(machine)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "chosen": {"engine": "cuda", "precision": "fp16"}}))
    assert machine.choice().remembered() is None


def test_a_choice_that_does_not_load_is_forgotten(machine: Machine) -> None:
    path = remembered(machine)
    del machine.ms[BF16]
    assert machine.choice().remembered() is None
    assert not path.exists()


def test_what_a_busy_machine_shows_is_not_remembered(machine: Machine) -> None:
    machine.waiting = 0.3
    machine.choice().measured().close()
    assert machine.choice().remembered() is None
    assert "measured again at the next start" in machine.lines[-1]
    machine.waiting = 0.2
    machine.choice().measured().close()
    assert machine.choice().remembered() is not None


def test_waiting_is_that_of_the_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert waited_s() >= 0.0
    monkeypatch.setattr(choice, "_SCHEDULER", tmp_path / "schedstat")
    assert waited_s() == 0.0
    (tmp_path / "schedstat").write_text("12000000000 3500000000 77\n")
    assert waited_s() == 3.5


@pytest.mark.parametrize("part", sorted(machine_key(SPEC, 2)))
def test_another_machine_or_model_is_measured_again(part: str) -> None:
    key = machine_key(SPEC, 2)
    ChoiceMemory(key, AMONG).remember(BF16, {})
    assert ChoiceMemory(key, AMONG).recall() == (BF16, {})
    assert ChoiceMemory({**key, part: "other"}, AMONG).recall() is None
    assert ChoiceMemory(key, AMONG[1:]).recall() is None


def test_the_key_names_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    key = machine_key(SPEC, 2)
    assert key["threads"] == "2" and int(key["cores"]) >= 1 and key["processor"]
    retrained = dataclasses.replace(SPEC, depth_sha256="ab")
    quantized = dataclasses.replace(SPEC, variants={"bf16": variant()})
    hashes = {machine_key(spec, 2)["graphs"] for spec in (SPEC, retrained, quantized)}
    assert len(hashes) == 3
    monkeypatch.setattr(choice_memory, "_version", lambda name: f"{name} 9")
    assert machine_key(SPEC, 2)["openvino"] == "openvino 9"


@pytest.mark.parametrize("home", ["a file", "no home"])
def test_a_cache_that_cannot_be_written_is_no_error(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    if home == "a file":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", no_home)
    chooser = machine.choice()
    assert chooser.remembered() is None
    assert kind(chooser.measured()) == BF16
    chooser.forget()


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
