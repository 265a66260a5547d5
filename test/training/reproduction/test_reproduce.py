"""The way from recordings to a bundle: its steps, its state, its card, and all of it in short."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from sfm_ros.cli.program import INCOMPLETE
from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.engines.choice_memory import processor_name
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window
from training import prepare, reproduce, train
from training.config import load_config
from training.data.sequence import PreparedSet
from training.preparation.writer import PreparedWriter
from training.reproduction.card import write_card
from training.reproduction.plan import HELD_OUT, KINDS, RECIPES, Request, Step, export_step, plan

COMMAND = [
    "kitti",
    "--recording",
    "folder --images DIR --calib 'my calib.txt'",
    "--validate",
    "drive --images D --ground-truth G --calib C",
]


def request(out: Path, *more: str) -> Request:
    return reproduce.parse([*COMMAND, "--out", str(out), *more])


def arguments_of(steps: Sequence[Step], program: str) -> list[list[str]]:
    return [list(step.arguments) for step in steps if step.program == program]


def test_programs_accept_the_arguments_of_every_step(tmp_path: Path) -> None:
    given = request(tmp_path)
    steps = [*plan(given), export_step(given)]
    assert len({step.name for step in steps}) == len(steps)
    of_recording, *of_streets = arguments_of(steps, "prepare.py")
    at = of_recording.index("--teacher")
    assert of_recording[at : at + 2] == ["--teacher", "geometry"]
    assert of_recording[:6] == [
        "folder", str(tmp_path / "prepared" / "recordings"),
        "--images", "DIR", "--calib", "my calib.txt",
    ]  # fmt: skip
    for arguments in of_streets:
        assert set(prepare.parse(arguments).seeds).isdisjoint(HELD_OUT)
    for arguments in arguments_of(steps, "train.py"):
        options = train.parse(arguments)
        config = load_config(options.config, options.set)
        sets = [Path(path) for path in config.data.prepared]
        assert sets == [path for path in given.prepared() if path in sets]
        assert len(config.data.set_ratios) == len(sets) >= 3
    assert len(arguments_of(steps, "evaluate_depth.py")) == 2


def test_each_stage_starts_with_the_depth_of_the_one_before(tmp_path: Path) -> None:
    stages = arguments_of(plan(request(tmp_path)), "train.py")
    assert [train.parse(stage).out.name for stage in stages] == [
        "rendered", "depth", "one_camera", "motion",
    ]  # fmt: skip
    assert train.parse(stages[0]).init is None
    for before, after in pairwise(stages):
        options = train.parse(after)
        assert options.init == train.parse(before).out / "last.pt"
        assert options.init_networks == ["depth"]
    parsed = [train.parse(stage) for stage in stages[1::2]]
    first, second = (load_config(options.config, options.set).network for options in parsed)
    same = "depth scales depth_unit canonical_focal canonical_height disparity_alpha".split()
    assert [getattr(first, n) for n in same] == [getattr(second, n) for n in same]
    assert first.canonical_height == 1.65
    assert second.frozen == "depth" and second.sequence_length == 3


def test_first_stage_starts_with_a_bundle(tmp_path: Path) -> None:
    words = [*COMMAND, "--out", str(tmp_path), "--init", "road"]
    stages = arguments_of(plan(reproduce.parse(words)), "train.py")
    assert [str(train.parse(stage).init) for stage in stages[:2]] == [
        "road", str(tmp_path / "rendered" / "last.pt"),
    ]  # fmt: skip
    assert train.parse(stages[0]).init_networks == ["depth"]


def test_every_step_is_in_the_table_of_the_page(tmp_path: Path, repository: Path) -> None:
    page = (repository / "docs" / "train_your_own.md").read_text(encoding="utf-8")
    table = page[page.index("| step | what it does") :].partition("\n\n")[0]
    described = {
        name for row in table.splitlines()[2:] for name in row.split("|")[1].strip().split(", ")
    }
    done = {
        step.name.split()[0]
        for kind in KINDS
        for step in plan(reproduce.parse([kind, *COMMAND[1:], "--out", str(tmp_path)]))
        if step.program != "evaluate_depth.py"
    }
    assert described == done | {"figures", "card", "export"}


def test_batch_size_is_that_of_all_stages(tmp_path: Path) -> None:
    sizes = [
        load_config(options.config, options.set).optim.batch_size
        for arguments in arguments_of(plan(request(tmp_path, "--batch-size", "32")), "train.py")
        for options in [train.parse(arguments)]
    ]
    assert sizes == [32] * 4
    with pytest.raises(SystemExit):
        request(tmp_path, "--batch-size", "-1")


def test_recipes_of_all_kinds_exist() -> None:
    for kind in KINDS.values():
        assert (RECIPES / f"{kind.recipe}.yaml").is_file()
    assert "NC" in KINDS["kitti"].licence and "KITTI" in KINDS["kitti"].knows


def test_done_steps_are_not_repeated_and_changed_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third step fails at first; the arguments of the second change in the end."""
    calls: list[str] = []
    fails = {"third"}

    def run(command: list[str], check: bool) -> object:
        calls.append(command[2])

        class Result:
            returncode = int(command[2] in fails)

        return Result()

    monkeypatch.setattr(reproduce.subprocess, "run", run)
    names = ("first", "second", "third")
    steps = [Step(name=name, program="prepare.py", arguments=(name,)) for name in names]
    state = reproduce._State(tmp_path / "steps.json")
    with pytest.raises(reproduce.StepError, match="'third' failed.*prepare.py third"):
        for step in steps:
            reproduce._do(step, state, "")
    fails.clear()
    steps[1] = Step(name="second", program="prepare.py", arguments=("changed",))
    again = reproduce._State(tmp_path / "steps.json")
    for step in steps:
        reproduce._do(step, again, "")
    assert calls == ["first", "second", "third", "changed", "third"]
    assert set(again.seconds(steps)) == set(names)


def test_a_step_that_could_not_read_all_of_its_input_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Result:
        returncode = INCOMPLETE

    monkeypatch.setattr(reproduce.subprocess, "run", lambda command, check: Result())
    step = Step(name="recording 2", program="prepare.py", arguments=("a",))
    reproduce._do(step, reproduce._State(tmp_path / "steps.json"), "1/2")
    assert reproduce._State(tmp_path / "steps.json").is_done(step)
    text = "WARNING: step 'recording 2' could not read all of its input"
    assert text in capsys.readouterr().err


def test_time_of_stopped_parts_counts_and_that_of_repeats_does_not(tmp_path: Path) -> None:
    state = reproduce._State(tmp_path / "steps.json")
    step = Step(name="export", program="export.py", arguments=("a",))
    state.add(step, 5.0, done=False)
    assert not state.is_done(step)
    state.add(step, 7.0, done=True)
    assert state.seconds([step]) == {"export": 12.0}
    for _ in range(2):
        state.add(step, 8.0, done=True)
    assert state.seconds([step]) == {"export": 8.0} and state.is_done(step)
    assert reproduce._State(tmp_path / "steps.json").seconds([step]) == {"export": 8.0}
    assert [path.name for path in tmp_path.iterdir()] == ["steps.json"]


def test_a_killed_call_leaves_a_folder_that_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed before its file of steps is in place."""
    given = tmp_path / "road"
    done: list[str] = []

    class Result:
        returncode = 1

    def killed(command: list[str], check: bool) -> object:
        (given / ".steps.json.17.ab12.new").touch()
        done.append(command[2])
        return Result()

    monkeypatch.setattr(reproduce.subprocess, "run", killed)
    for _ in range(2):
        assert reproduce.main(["road", "--out", str(given), "--quick"]) == 1
        assert "step 'traffic' failed" in capsys.readouterr().err
    assert len(done) == 2


def test_card_names_data_licence_and_every_figure(tmp_path: Path, wall_set: PreparedSet) -> None:
    given = Request(
        kind="kitti", out=tmp_path, validation={"drive 1": ["--images"], "drive 2": ["--images"]}
    )
    for path in given.prepared():
        writer = PreparedWriter(path, 64, 64)
        writer.append(wall_set)
        writer.finish()
    streets, *_ = given.evaluated()
    earlier = "of an earlier call"
    for name, value in ((streets, 0.1), ("drive 1", 0.123), ("drive 2", 0.234), (earlier, 0.3)):
        path = given.figures(name)
        path.parent.mkdir(exist_ok=True)
        figures = {"abs_rel": value + 1, "images": 7, "scale_spread": 0.02}
        path.write_text(json.dumps(figures | {"unscaled": {"abs_rel": value, "rmse": 4.5}}))
    config = load_config(RECIPES / "geometry_pose.yaml", ["network.canonical_height=1.5"])
    text = write_card(given, config, {"depth": 5400.0, "motion": 1800.0})
    for part in (
        "CC BY-NC-SA 3.0",
        "Geiger",
        "2.0 hours",
        "120 frames: recording1",
        "geometry_kitti",
        "features of the depth network's encoder",
        f"{os.cpu_count()} cores of {processor_name()}.",
        "in proportion to the height of the camera above the road (1.5 m unless it is stated).",
    ):
        assert part in text, part
    assert "| drive 1 (7) | 0.123 | 1.123 | 4.50 | 2.0 % |" in text
    assert "| drive 2 (7) | 0.234 |" in text
    assert f"| {streets} (7) | 0.100 |" in text
    assert "earlier" not in text
    assert given.card.read_text(encoding="utf-8") == text


def test_bad_command_lines_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        reproduce.parse(["road", "--out", "x", "--validate", "nameonly"])
    assert "a name and options" in capsys.readouterr().err


@pytest.mark.skipif(
    not os.environ.get("SFM_SLOW_TESTS"), reason="slow; set SFM_SLOW_TESTS=1 to run it"
)
def test_the_whole_way_in_short(tmp_path: Path) -> None:
    """Some minutes: prepared, trained, measured and exported, then run, then nothing to do."""
    out = tmp_path / "road"
    assert reproduce.main(["road", "--out", str(out), "--quick"]) == 0
    bundle = out / "bundle" / "road"
    spec = ModelSpec.load(bundle)
    assert (spec.sequence_length, spec.pose_input, spec.metric) == (3, "features", True)
    assert spec.canonical_fx == pytest.approx(0.581 * 416)
    assert "held-out rendered streets" in spec.card and spec.licence == "Apache-2.0"
    image = np.full((128, 416, 3), 90, dtype=np.uint8)
    camera = CameraIntrinsics(width=416, height=128, fx=240, fy=240, cx=207.5, cy=63.5)
    window = Window(images=(image,) * 3, stamps_ns=(0, 1, 2), intrinsics=camera)
    found = OnnxEngine(bundle, ModelConfig(threads=1)).infer(window)
    assert np.isfinite(found.depth).all() and np.isfinite(found.increments).all()
    before = (out / "depth" / "last.pt").stat().st_mtime_ns
    assert reproduce.main(["road", "--out", str(out), "--quick"]) == 0
    assert (out / "depth" / "last.pt").stat().st_mtime_ns == before
