"""What a node has published for a recording, which was played before, is scored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from small_bags import ESTIMATED_STEP_M, SmallSequence, body_pose, stamp

from sfm_ros.bags.writer import IMAGE_TOPIC, write_bag
from sfm_ros.cli.evaluate import main
from sfm_ros.config import SfmConfig
from sfm_ros.evaluation.runs.inputs import EvaluationInput, InputOptions, open_input
from sfm_ros.evaluation.runs.recording import RecordingWriter
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE
from sfm_ros.evaluation.session import RunOptions, evaluate

FRAMES = 12
MODES = (ONLINE, OFFLINE)


def write_recording(folder: Path, stamps: Iterable[int], answered: Iterable[int]) -> None:
    """What a recorder receives: images, and the odometry of those that are answered."""
    writer = RecordingWriter(folder)
    for index in stamps:
        writer.image(stamp(index), index * 1_000_000)
    for index in answered:
        writer.odometry(
            stamp(index), index * 1_000_000 + 500_000, body_pose(index, ESTIMATED_STEP_M)
        )
    writer.close()


def test_what_a_node_published_is_scored_first(
    frames: EvaluationInput, config: SfmConfig, tmp_path: Path
) -> None:
    """Images that were never answered, or never arrived, are lost."""
    write_recording(tmp_path / "run", range(FRAMES - 1), [2, 3, 5, 8])
    options = RunOptions(recording=tmp_path / "run")
    done = evaluate(frames, config, tmp_path / "out", MODES, options)
    assert tuple(run.result.mode for run in done.results.runs) == MODES
    summary = done.results.summary
    assert (summary["mode"], summary["frames"], summary["rate"]) == (ONLINE, FRAMES, None)
    assert summary["frames_lost"] == FRAMES - 2 - 4
    assert summary[OFFLINE]["frames_lost"] == 0
    assert summary["agreement"]["poses"] == 4


def test_an_answer_to_an_image_that_the_recorder_missed_counts(
    frames: EvaluationInput, config: SfmConfig, tmp_path: Path
) -> None:
    answered = range(2, FRAMES)
    write_recording(tmp_path / "run", (i for i in range(FRAMES) if i != 6), answered)
    options = RunOptions(recording=tmp_path / "run")
    done = evaluate(frames, config, tmp_path / "out", MODES, options)
    assert done.results.summary["frames_lost"] == 0


def test_images_that_the_bag_lists_and_does_not_hold_are_unreadable_not_lost(
    config: SfmConfig, tmp_path: Path
) -> None:
    """Nothing could play them."""
    bag, absent = tmp_path / "bag", 3
    write_bag(SmallSequence(FRAMES), bag, tmp_path / "unused")
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    for topic in metadata["rosbag2_bagfile_information"]["topics_with_message_count"]:
        if topic["topic_metadata"]["name"] == IMAGE_TOPIC:
            topic["message_count"] += absent
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    given = open_input(InputOptions(kind="bag", path=bag))
    assert len(given.source) == FRAMES + absent
    write_recording(tmp_path / "run", range(FRAMES), range(2, FRAMES))
    options = RunOptions(recording=tmp_path / "run")
    summary = evaluate(given, config, tmp_path / "out", MODES, options).results.summary
    assert (summary["frames_unreadable"], summary["frames_lost"]) == (absent, 0)
    assert summary["frames"] == summary[OFFLINE]["frames"] == FRAMES


@pytest.mark.parametrize(
    ("words", "latency_ms"), [((), 0.5), (("--rate", "0.5"), 0.5), (("--rate", "0"), None)]
)
def test_what_was_played_at_rate_0_has_no_latency(
    words: tuple[str, ...], latency_ms: float | None, config: SfmConfig, tmp_path: Path
) -> None:
    """Images then wait in the node's queue."""
    write_bag(SmallSequence(FRAMES), tmp_path / "bag", tmp_path / "unused")
    write_recording(tmp_path / "run", range(FRAMES), range(2, FRAMES))
    command = ["bag", str(tmp_path / "bag"), "--mode", "network", "--model", config.model.bundle]
    command += ["--recording", str(tmp_path / "run"), "--out", str(tmp_path / "out"), *words]
    assert main(command) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["mode"] == ONLINE
    assert summary["latency_p50_ms"] == (latency_ms and pytest.approx(latency_ms))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rate", "1"], "--rate is 1, which --recording was played at"),
        (["--rate", "0", "--online"], "--rate is 0, which --recording was played at"),
        (["--recording", "{run}", "--rate", "-1"], "--rate is -1, expected a number from 0 up"),
        (["--recording", "{run}", "--rate", "nan"], "--rate is nan, expected a number from 0 up"),
    ],
)
def test_rate_that_is_of_no_recording_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "run", range(FRAMES), range(2, FRAMES))
    given = [word.format(run=tmp_path / "run") for word in words]
    assert main(["bag", "--synthetic", *given, "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
