"""Engines that take over while frames arrive, that are refused, and that fail."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines import choice, registry
from sfm_ros.engines.build_process import BuildProcess, progress_text
from sfm_ros.engines.factory import create_engine, fastest_engine, start_engine
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.engines.registry import Candidate
from sfm_ros.engines.switching import SwitchingEngine
from sfm_ros.engines.window_runner import gray_windows
from sfm_ros.errors import (
    EngineError,
    EngineNotBuiltError,
    EngineRefusedError,
    ModelError,
    SfmRosError,
)
from sfm_ros.window import Window

WAIT_S = 60.0
SPEC = fake_spec(width=64, height=32)


class Named(FakeEngine):
    """Counts its inferences, may fail, and knows whether it is closed."""

    def __init__(self, name: str, precision: str = "fp32") -> None:
        super().__init__(SPEC)
        self.name, self.precision = name, precision
        self.count, self.fails, self.is_closed = 0, False, False

    def infer(self, window: Window) -> Prediction:
        assert not self.is_closed
        if self.fails:
            raise EngineError("the library is out of memory")
        self.count += 1
        return super().infer(window)

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Bench:
    """A switching engine, and improvements that are ready when the test lets them."""

    def __init__(self, *improvements: Named | SfmRosError) -> None:
        self.first, self.other = Named("first"), Named("other")
        self.begun = [threading.Event() for _ in improvements]
        self.release = [threading.Event() for _ in improvements]
        self.lines: list[tuple[str, bool]] = []
        self.engine = SwitchingEngine(
            self.first,
            [self._preparing(*each) for each in enumerate(improvements)],
            self._fallback,
        )
        self.windows = gray_windows(SPEC)

    def _preparing(self, index: int, result: Named | SfmRosError) -> Callable:
        def prepare(progress: Callable[[str], object], stop: threading.Event) -> Named:
            progress(f"preparing {index}")
            self.begun[index].set()
            assert self.release[index].wait(WAIT_S)
            if isinstance(result, SfmRosError):
                raise result
            return result

        return prepare

    def _fallback(self, engine: object, error: SfmRosError) -> Named:
        if engine is self.other:
            raise error
        return self.other

    def start(self) -> None:
        self.engine.start(lambda text, is_problem: self.lines.append((text, is_problem)))

    def infer(self) -> Prediction:
        return self.engine.infer(next(self.windows))

    def finish(self) -> None:
        """Let the preparation end."""
        for event in self.release:
            event.set()
        assert self.engine._thread is not None
        self.engine._thread.join(WAIT_S)


def test_a_better_engine_takes_over_between_two_frames() -> None:
    better = Named("better", "bf16")
    bench = Bench(better)
    bench.infer()
    bench.start()
    bench.begun[0].wait(WAIT_S)
    assert bench.engine.facts() == {"engine_progress": "preparing 0", "engine_refused": ""}
    bench.infer()
    assert (bench.engine.name, bench.engine.precision) == ("first", "fp32")
    bench.finish()
    assert bench.engine.name == "first" and not bench.first.is_closed  # until the next frame
    warm_up = better.count
    bench.infer()
    assert (bench.engine.name, bench.engine.precision) == ("better", "bf16")
    assert (bench.first.count, better.count, warm_up) == (2, 2, 1)
    assert bench.first.is_closed
    assert bench.engine.facts() == {"engine_progress": "", "engine_refused": ""}
    assert bench.lines == [
        ("engine better bf16 takes over from first fp32", False),
    ]
    bench.engine.close()
    assert better.is_closed


def test_a_refused_engine_is_named_and_the_next_one_prepared() -> None:
    bench = Bench(EngineError("better against onnx: refused, depth median too large"), Named("b"))
    bench.start()
    bench.finish()
    bench.infer()
    assert bench.engine.name == "b"
    assert "refused, depth median" in bench.engine.facts()["engine_refused"]
    assert ("better against onnx: refused, depth median too large", True) in bench.lines
    bench.engine.close()


def test_an_engine_of_the_same_kind_does_not_take_over() -> None:
    same = Named("first")
    bench = Bench(same)
    bench.start()
    bench.finish()
    bench.infer()
    assert same.is_closed and not bench.first.is_closed and bench.lines == []
    bench.engine.close()


def test_only_the_last_of_two_that_are_ready_takes_over() -> None:
    one, two = Named("one"), Named("two")
    bench = Bench(one, two)
    bench.start()
    bench.finish()
    assert one.is_closed
    bench.infer()
    assert bench.engine.name == "two"
    bench.engine.close()


def test_closing_ends_the_preparation() -> None:
    better = Named("better")
    bench = Bench(better, Named("never"))
    bench.start()
    bench.begun[0].wait(WAIT_S)
    closing = threading.Thread(target=bench.engine.close)
    closing.start()
    bench.engine._stop.wait(WAIT_S)
    bench.release[0].set()
    closing.join(WAIT_S)
    assert better.is_closed and bench.first.is_closed and not bench.begun[1].is_set()


def test_an_engine_that_fails_is_replaced_before_the_frame_is_answered() -> None:
    bench = Bench()
    bench.start()
    bench.infer()
    bench.first.fails = True
    assert np.isfinite(bench.infer().depth).all()
    assert bench.engine.name == "other" and bench.first.is_closed
    reason = "engine first fp32 failed, other fp32 takes over: the library is out of memory"
    assert bench.engine.facts()["engine_refused"] == reason
    assert (reason, True) in bench.lines
    bench.other.fails = True
    with pytest.raises(EngineError, match="out of memory"):
        bench.infer()
    bench.engine.close()


# ---- which engines a configuration starts with --------------------------------------------------


class Installed:
    """Engines by their name, or why they do not load."""

    def __init__(self, **engines: SfmRosError | None) -> None:
        self.errors, self.made = engines, []  # type: ignore[var-annotated]

    def load(self, name: str, bundle: Path, config: ModelConfig) -> Named:
        error = self.errors.get(name, EngineError(f"{name} is not installed"))
        if error is not None:
            raise error
        self.made.append(Named(name, config.precision))
        return self.made[-1]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(choice, "_SCHEDULER", tmp_path / "a machine that is never busy")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Installed]:
    def install(**engines: SfmRosError | None) -> Installed:
        made = Installed(**engines)
        monkeypatch.setattr(registry, "load_engine", made.load)
        return made

    return install


def test_a_gpu_comes_first(installed: Callable[..., Installed]) -> None:
    installed(tensorrt=None, cuda=None, onnx=None)
    assert create_engine(ModelConfig()).name == "tensorrt"
    installed(cuda=None, onnx=None)
    engine = start_engine(ModelConfig())
    assert engine.name == "cuda" and isinstance(engine, SwitchingEngine)
    lines: list[str] = []
    engine.start(lambda text, _: lines.append(text))
    assert lines == [
        "engine tensorrt fp32 is left out: tensorrt is not installed",
        "engine cuda fp32",
    ]


def test_the_node_starts_on_the_processor_while_an_engine_is_built(
    installed: Callable[..., Installed], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = installed(tensorrt=EngineNotBuiltError("build it"), onnx=None)

    def build(self: BuildProcess, *_: object) -> None:
        assert self._candidate == Candidate("tensorrt", "fp32")
        machine.errors["tensorrt"] = None

    monkeypatch.setattr(BuildProcess, "_build", build)
    engine = start_engine(ModelConfig())
    assert isinstance(engine, SwitchingEngine) and engine.name == "onnx"
    engine.start(lambda *_: None)
    engine._thread.join(WAIT_S)  # type: ignore[union-attr]
    engine.infer(next(gray_windows(engine.spec)))
    assert engine.name == "tensorrt"
    engine.close()
    assert all(each.is_closed for each in machine.made)


def test_a_named_engine_does_not_give_way(installed: Callable[..., Installed]) -> None:
    installed(tensorrt=EngineNotBuiltError("build it with sfm_build_engine"), onnx=None)
    with pytest.raises(EngineNotBuiltError, match="sfm_build_engine"):
        start_engine(ModelConfig(engine="tensorrt"))
    with pytest.raises(EngineError, match="cuda is not installed"):
        create_engine(ModelConfig(engine="cuda"))
    assert not isinstance(start_engine(ModelConfig(engine="onnx")), SwitchingEngine)


def test_a_refused_engine_is_reported_at_each_start(installed: Callable[..., Installed]) -> None:
    installed(tensorrt=EngineRefusedError("the engines are refused: depth"), openvino=None)
    for _ in range(2):
        engine = start_engine(ModelConfig())
        assert isinstance(engine, SwitchingEngine)
        lines: list[tuple[str, bool]] = []
        engine.start(lambda *line, lines=lines: lines.append(line))  # type: ignore[misc]
        refusal = "engine tensorrt fp32 is not used: the engines are refused: depth"
        assert engine.facts()["engine_refused"] == refusal
        assert lines[:2] == [
            (refusal, True), ("engine cuda fp32 is left out: cuda is not installed", False),
        ]  # fmt: skip
        engine.close()


def test_a_bundle_that_one_library_refuses_runs_with_the_next(
    installed: Callable[..., Installed],
) -> None:
    installed(tensorrt=ModelError("TensorRT cannot"), openvino=ModelError("it cannot"), onnx=None)
    assert create_engine(ModelConfig()).name == "onnx"
    engine = start_engine(ModelConfig())
    assert engine.name == "onnx" and isinstance(engine, SwitchingEngine)
    lines: list[tuple[str, bool]] = []
    engine.start(lambda *line: lines.append(line))  # type: ignore[arg-type]
    engine._thread.join(WAIT_S)  # type: ignore[union-attr]
    engine.close()
    assert [line for line in lines if line[1]] == [
        ("engine tensorrt fp32 is not used: TensorRT cannot", True),
        ("engine openvino fp32 is not used: it cannot", True),
    ]
    with pytest.raises(ModelError, match="it cannot"):
        start_engine(ModelConfig(engine="openvino"))


def test_an_evaluation_measures_no_time(installed: Callable[..., Installed]) -> None:
    """Else two runs of it could compute with two engines."""
    machine = installed(openvino=None, onnx=None)
    assert create_engine(ModelConfig()).name == "openvino"
    assert [each.name for each in machine.made] == ["openvino"] and not machine.made[0].count


def test_the_fastest_is_measured_beside_the_first_frames_once(
    installed: Callable[..., Installed],
) -> None:
    installed(openvino=None, onnx=None)
    engine = start_engine(ModelConfig())
    assert isinstance(engine, SwitchingEngine)
    assert engine.name == "openvino" and len(engine._improvements) == 1
    lines: list[str] = []
    engine.start(lambda text, _: lines.append(text))
    engine._thread.join(WAIT_S)  # type: ignore[union-attr]
    engine.close()
    assert lines[:2] == [
        "engine tensorrt fp32 is left out: tensorrt is not installed",
        "engine cuda fp32 is left out: cuda is not installed",
    ]
    assert lines[2] == "engine openvino fp32 to begin with" and "the fastest here (" in lines[3]
    again = start_engine(ModelConfig())
    assert isinstance(again, SwitchingEngine) and not again._improvements
    again.close()


def test_the_next_engine_replaces_one_that_fails(installed: Callable[..., Installed]) -> None:
    machine = installed(openvino=None, onnx=None)
    fastest_engine(ModelConfig()).close()
    engine = start_engine(ModelConfig())
    first = machine.made[-1]
    first.fails = True
    engine.infer(next(gray_windows(engine.spec)))
    assert {first.name, engine.name} == {"openvino", "onnx"}
    machine.made[-1].fails = True
    with pytest.raises(EngineError, match="out of memory"):
        engine.infer(next(gray_windows(engine.spec)))


# ---- a build as a process -----------------------------------------------------------------------

BUILD = """
import sys
print("progress 0.5 12 depth", flush=True)
print("noise", flush=True)
print("progress 1 - pose", flush=True)
print("first line\\nthe GPU has no memory left", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


def building(monkeypatch: pytest.MonkeyPatch, *command: str) -> BuildProcess:
    monkeypatch.setattr(BuildProcess, "_command", lambda _: [sys.executable, "-c", *command])
    return BuildProcess(Candidate("tensorrt", "fp16"), Path("bundle"), ModelConfig())


def test_progress_of_a_build_is_shown(
    monkeypatch: pytest.MonkeyPatch, installed: Callable[..., Installed]
) -> None:
    installed(tensorrt=None)
    shown: list[str] = []
    engine = building(monkeypatch, BUILD, "0").prepare(shown.append, threading.Event())
    assert (engine.name, engine.precision) == ("tensorrt", "fp16")
    assert shown == ["tensorrt fp16: 50 %, 12 s left, depth", "tensorrt fp16: 100 %, pose"]


def test_a_build_that_fails_names_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    build = building(monkeypatch, BUILD, "4")
    with pytest.raises(EngineError, match="^tensorrt fp16 is not used: the GPU has no memory"):
        build.prepare(lambda _: None, threading.Event())


def test_a_build_that_is_stopped_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "import signal; print('progress 0 - begun', flush=True); signal.pause()"
    stop = threading.Event()
    with pytest.raises(EngineError, match="was stopped"):
        building(monkeypatch, endless).prepare(lambda _: stop.set(), stop)


def test_the_build_is_the_program_at_low_priority() -> None:
    build = BuildProcess(Candidate("tensorrt", "fp16"), Path("/models/a"), ModelConfig())
    words = build._command()
    assert words[-6:] == [
        "-m", "sfm_ros.cli.build_engine", "/models/a", "--precision", "fp16", "--progress-lines",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("progress 0.341 80 building depth", "34 %, 80 s left, building depth"),
        ("progress 0 -", "0 %"),
        ("progress soon 3 x", ""),
        ("done", ""),
        ("", ""),
    ],
)
def test_lines_of_progress(line: str, text: str) -> None:
    assert progress_text(line) == text
