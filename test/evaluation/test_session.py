"""An evaluation from end to end: networks of constant output, a stand-in of the node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corridor import HEIGHT_M, ahead
from corridor import frames as drawn_frames
from small_bags import ESTIMATED_STEP_M, SmallSequence, body_pose, stamp

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.writer import write_bag
from sfm_ros.config import ModelConfig, ScaleConfig, SfmConfig
from sfm_ros.errors import ModelError, OutputError
from sfm_ros.evaluation import session
from sfm_ros.evaluation.report.results import RESULT_FILES
from sfm_ros.evaluation.runs.ground_truth import FrameGroundTruth
from sfm_ros.evaluation.runs.inputs import EvaluationInput, InputOptions, open_input
from sfm_ros.evaluation.runs.online import RECORDING, RunPlan
from sfm_ros.evaluation.runs.processes import ProcessError
from sfm_ros.evaluation.runs.recording import Recording, RecordingWriter
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE
from sfm_ros.evaluation.session import Evaluation, RunOptions, evaluate
from sfm_ros.outputs.marker import MARKER
from sfm_ros.source import SourceItem
from sfm_ros.sources.bag import BagSource

FRAMES = 12
MODES = (OFFLINE, ONLINE)


class FakeNode:
    """Stands in for the processes of an online run: records the odometry it was given.

    Attributes:
        plan: of the run.
        compiled_ahead: configurations for which depth was made ready before it.
    """

    def __init__(self, answered: int, error: BaseException | None = None) -> None:
        self._answered, self._error = answered, error
        self.plan: RunPlan | None = None
        self.compiled_ahead: list[SfmConfig] = []

    def __call__(
        self, plan: RunPlan, folder: Path, on_progress: Callable[[int], object]
    ) -> Recording:
        assert plan.bag.path.is_dir()
        assert self.compiled_ahead[-1:] == [plan.config]  # else the node would, beside the images
        self.plan = plan
        writer = RecordingWriter(folder / RECORDING)
        for index in range(self._answered):
            writer.image(stamp(index), index * 1_000_000)
            if index >= plan.frames_to_start:
                writer.odometry(
                    stamp(index), index * 1_000_000 + 500_000, body_pose(index, ESTIMATED_STEP_M)
                )
                on_progress(index - plan.frames_to_start + 1)
        writer.close()
        if self._error is not None:
            raise self._error
        return Recording.load(folder / RECORDING)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNode]:
    """Replaces the processes: ``node(answered, error)``."""

    def replace(answered: int = FRAMES, error: BaseException | None = None) -> FakeNode:
        fake = FakeNode(answered, error)
        monkeypatch.setattr(session, "run_online", fake)
        monkeypatch.setattr(
            session, "compile_ahead", lambda config, _: fake.compiled_ahead.append(config)
        )
        return fake

    return replace


def modes_of(evaluation: Evaluation) -> list[str]:
    return [run.result.mode for run in evaluation.results.runs]


def summary_in(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


def test_offline_run_is_scored_and_written(
    frames: EvaluationInput, config: SfmConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = evaluate(frames, config, out, (OFFLINE,), RunOptions(command="again"))
    assert modes_of(done) == [OFFLINE] and not done.interrupted and done.failure is None
    summary = done.results.summary
    assert (summary["frames"], summary["frames_lost"], summary["rate"]) == (FRAMES, 0, None)
    assert summary["sim3_scale"] == pytest.approx(2.0, rel=1e-5)
    assert (summary["ground_truth"], summary["command"]) == ("poses of the frames", "again")
    assert summary == summary_in(out) | {"model_sha256": summary["model_sha256"]}
    written = {file.name for file in out.iterdir()}
    assert written == {
        *RESULT_FILES, "summary.json", "report.html", "ground_truth.tum", "timings.csv", "depth",
        MARKER,
    }  # fmt: skip


class Bar:
    """A progress bar that keeps its count."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.n = what, total, 0

    def update(self, count: int = 1) -> None:
        self.n += count

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("rate", "latency_ms"), [(1.0, 0.5), (0.0, None)])
def test_every_frame_counts_and_latency_needs_a_rate(
    rate: float,
    latency_ms: float | None,
    frames: EvaluationInput,
    config: SfmConfig,
    node: Callable[..., FakeNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first two frames, which fill the window, are played as well."""
    bars: list[Bar] = []
    monkeypatch.setattr(session, "progress", lambda *a: bars.append(Bar(*a)) or bars[-1])
    node()
    done = evaluate(frames, config, tmp_path / "out", (ONLINE,), RunOptions(rate=rate))
    assert {bar.what: (bar.n, bar.total) for bar in bars}["playing"] == (FRAMES, FRAMES)
    assert done.results.summary["frames"] == FRAMES
    # At rate 0 images wait in the node's queue.
    assert done.results.summary["latency_p50_ms"] == (latency_ms and pytest.approx(latency_ms))
    assert done.results.summary["step_time_p50_ms"] is None


@pytest.mark.parametrize("modes", [(ONLINE,), MODES])
def test_reading_a_bag_before_it_is_played_is_shown(
    modes: tuple[str, ...],
    config: SfmConfig,
    node: Callable[..., FakeNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its images are counted by reading them, unless the offline run has."""
    bars: list[Bar] = []
    monkeypatch.setattr(session, "progress", lambda *a: bars.append(Bar(*a)) or bars[-1])
    write_bag(SmallSequence(FRAMES), tmp_path / "bag", tmp_path / "unused")
    node()
    given = open_input(InputOptions(kind="bag", path=tmp_path / "bag"))
    evaluate(given, config, tmp_path / "out", modes)
    first = "scoring" if OFFLINE in modes else "counting"
    assert [(bar.what, bar.n, bar.total) for bar in bars] == [
        (first, FRAMES, FRAMES),
        ("playing", FRAMES, FRAMES),
    ]


def test_both_modes_are_compared(
    frames: EvaluationInput, config: SfmConfig, node: Callable[..., FakeNode], tmp_path: Path
) -> None:
    fake = node()
    done = evaluate(frames, config, tmp_path / "out", MODES)
    assert modes_of(done) == [OFFLINE, ONLINE]
    assert fake.plan is not None
    assert replace(fake.plan.config, model=config.model) == config
    assert (fake.plan.frames, fake.plan.frames_to_start, fake.plan.rate) == (FRAMES, 2, 0.0)
    summary = done.results.summary
    assert summary["agreement"]["poses"] == FRAMES - 2 and summary["rate"] == 0.0
    assert summary["mode"] == OFFLINE and summary[ONLINE]["frames_lost"] == 0


def test_height_of_the_input_is_used_unless_it_is_configured(
    frames: EvaluationInput, config: SfmConfig, node: Callable[..., FakeNode], tmp_path: Path
) -> None:
    known, fake = replace(frames, camera_height_m=1.65), node()
    configured = replace(config, scale=ScaleConfig(camera_height=2.0))
    for given, height_m in ((config, 1.65), (configured, 2.0)):
        done = evaluate(known, given, tmp_path / "out", MODES)
        assert done.results.summary["configuration"]["scale"]["camera_height"] == height_m
        assert fake.plan is not None and fake.plan.config.scale.camera_height == height_m


class DrawnStreet:
    """Ten frames of a street that can be tracked, 0.8 m apart."""

    name = "a street"

    def __init__(self) -> None:
        self._poses = ahead([0.8] * 9)

    def __len__(self) -> int:
        return len(self._poses)

    def __iter__(self) -> Iterator[SourceItem]:
        for frame, pose_ in zip(drawn_frames(self._poses), self._poses, strict=True):
            yield SourceItem(frame=frame, T_world_camera=pose_)


def test_other_modes_are_scored_beside_the_configured_one(
    config: SfmConfig, tmp_path: Path
) -> None:
    source = FrameGroundTruth(DrawnStreet())
    street = EvaluationInput(
        name="street", source=source, ground_truth=source, camera_height_m=HEIGHT_M
    )
    options = RunOptions(compared=("geometric",))
    done = evaluate(street, config, tmp_path / "out", (OFFLINE,), options)
    modes = summary_in(tmp_path / "out")["odometry_modes"]
    assert list(modes) == ["network", "geometric", "straight_line"]
    assert modes_of(done) == [OFFLINE] and done.results.summary["scale_source"] == "model"
    # The networks estimate 0.7 m; the height over the road gives the true length.
    errors_m = {mode: figures["origin"]["ate_m"] for mode, figures in modes.items()}
    assert errors_m["network"] > 2 * errors_m["geometric"]
    assert modes["geometric"]["7dof"]["scale"] == pytest.approx(1.0, abs=0.1)
    alone = evaluate(street, config, tmp_path / "alone", (OFFLINE,))
    assert "odometry_modes" not in alone.results.summary


def test_online_run_alone_needs_no_engine(
    frames: EvaluationInput,
    config: SfmConfig,
    node: Callable[..., FakeNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(session, "create_engine")
    fake, out = node(), tmp_path / "out"
    options = RunOptions(frames=7, rate=2.0, keep_bag=True)
    done = evaluate(frames, config, out, (ONLINE,), options)
    assert modes_of(done) == [ONLINE]
    assert fake.plan is not None and (fake.plan.frames, fake.plan.rate) == (7, 2.0)
    assert fake.plan.bag.frames == 7 and (out / "bag" / "metadata.yaml").is_file()
    assert done.results.summary["rate"] == 2.0
    assert not (out / "timings.csv").exists() and not (out / "depth").exists()
    again = RunOptions(frames=5, keep_bag=True)
    evaluate(frames, config, out, (ONLINE,), again)
    assert fake.plan.frames == 5 and len(BagSource(BagFile(out / "bag"))) == 5


def test_online_run_uses_the_engine_of_the_offline_run(
    frames: EvaluationInput, config: SfmConfig, node: Callable[..., FakeNode], tmp_path: Path
) -> None:
    """Else the node would choose one by its speed, and the two could not be compared."""
    assert (config.model.engine, config.model.precision) == ("auto", "auto")
    fake = node()
    done = evaluate(frames, config, tmp_path / "out", MODES)
    assert fake.plan is not None
    model = fake.plan.config.model
    assert f"{model.engine} {model.precision}" == done.results.runs[0].result.engine
    assert model.precision == "fp32" and model.bundle == config.model.bundle


def test_failed_online_run_keeps_the_offline_run(
    frames: EvaluationInput, config: SfmConfig, node: Callable[..., FakeNode], tmp_path: Path
) -> None:
    error = ProcessError("the node ended with status 1")
    node(error=error)
    done = evaluate(frames, config, tmp_path / "out", MODES)
    assert modes_of(done) == [OFFLINE] and done.failure is error
    assert summary_in(tmp_path / "out")["rate"] is None
    with pytest.raises(ProcessError):
        evaluate(frames, config, tmp_path / "alone", (ONLINE,))
    assert not (tmp_path / "alone").exists()


def test_interrupted_online_run_is_scored_until_then(
    frames: EvaluationInput, config: SfmConfig, node: Callable[..., FakeNode], tmp_path: Path
) -> None:
    node(answered=9, error=KeyboardInterrupt())
    done = evaluate(frames, config, tmp_path / "out", (ONLINE,))
    assert done.interrupted
    summary = summary_in(tmp_path / "out")
    assert summary["interrupted"] and (summary["frames"], summary["frames_lost"]) == (9, 0)
    assert summary["ate_m"] == pytest.approx(0.0, abs=1e-5)


def test_interrupted_offline_run_is_scored_until_then(
    config: SfmConfig,
    node: Callable[..., FakeNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = node()

    class Interrupted(FrameGroundTruth):
        @staticmethod
        def depth(item: Any) -> None:
            if item.frame.stamp_ns == stamp(8):
                raise KeyboardInterrupt

    source = Interrupted(SmallSequence(FRAMES))
    given = EvaluationInput(name="street", source=source, ground_truth=source)
    done = evaluate(given, config, tmp_path / "out", MODES)
    assert done.interrupted and modes_of(done) == [OFFLINE] and fake.plan is None
    summary = summary_in(tmp_path / "out")
    assert summary["interrupted"] and (summary["frames"], summary["frames_lost"]) == (9, 0)
    assert (tmp_path / "out" / "report.html").is_file()


def test_unusable_model_or_folder_writes_nothing(
    frames: EvaluationInput, config: SfmConfig, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no model '/no/such'"):
        evaluate(frames, SfmConfig(model=ModelConfig(bundle="/no/such")), tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        evaluate(frames, config, tmp_path / "file", (OFFLINE,))
    assert (tmp_path / "file").read_text() == "mine" and not (tmp_path / "out").exists()
