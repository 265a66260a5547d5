"""Preparing as a user does it: from streets and folders, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from prepared_sets import Frames, assert_same_files

from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.source import SourceItem
from sfm_ros.sources import folder
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training import prepare
from training.data.sequence import SKY_DEPTH_M, PreparedFrame, PreparedSet
from training.preparation.recordings import FrameOptions, prepared_frames
from training.preparation.set_statistics import measure

SMALL = ("--width", "64", "--height", "64", "--no-report")
STREETS = ("synthetic", "--seeds", "0-1", "--frames", "2", *SMALL)


@pytest.fixture(autouse=True)
def keep_interrupt_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, wall_frames: Frames) -> tuple[Path, Path]:
    """A folder of 12 images 96x64 of the wall, and the file of their K."""
    made = tmp_path_factory.mktemp("wall") / "images"
    made.mkdir()
    frames = list(wall_frames(12, 96, 64))
    for index, frame in enumerate(frames):
        cv2.imwrite(str(made / f"{index}.png"), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
    fx, fy, cx, cy = frames[0].K
    calibration = made.parent / "K.txt"
    calibration.write_text(f"{fx} 0 {cx} 0 {fy} {cy} 0 0 1\n")
    return made, calibration


def folder_arguments(out: Path, images: tuple[Path, Path], *more: str) -> list[str]:
    made, calibration = images
    return ["folder", str(out), *SMALL, "--images", str(made), "--calib", str(calibration), *more]


def test_sky_of_streets_is_labeled_on_demand(tmp_path: Path) -> None:
    """Where the ray meets nothing; all else stays."""
    assert prepare.main([STREETS[0], str(tmp_path / "plain"), *STREETS[1:]]) == 0
    assert prepare.main([STREETS[0], str(tmp_path / "sky"), *STREETS[1:], "--label-sky"]) == 0
    plain, sky = (PreparedSet.open(tmp_path / name) for name in ("plain", "sky"))
    assert plain.depth_m is not None and sky.depth_m is not None
    assert [record.camera_height_m for record in sky.sequences] == [
        SyntheticStreet(SyntheticConfig(seed=seed)).camera_height_m for seed in (0, 1)
    ]
    is_sky = plain.depth_m == 0
    assert 0.05 < is_sky.mean() < 0.7
    assert np.array_equal(sky.depth_m, np.where(is_sky, SKY_DEPTH_M, plain.depth_m))
    assert np.array_equal(sky.frames, plain.frames)


def test_varied_streets_have_many_lenses_heights_and_pitches() -> None:
    """By their seeds; the worlds are those of the plain streets."""
    arguments = ["synthetic", "unused", "--seeds", "0-39", *SMALL]
    varied, again = (prepare.parse([*arguments, "--varied"]) for _ in range(2))
    configs, repeated, plain = (
        [spec.open.args[0] for spec in options.list_sources(options)]  # type: ignore[attr-defined]
        for options in (varied, again, prepare.parse(arguments))
    )
    assert configs == repeated
    views = [2 * np.degrees(np.arctan(32 / config.fx)) for config in configs]
    heights = [config.camera_height_m for config in configs]
    assert 40 <= min(views) < 50 and 95 < max(views) <= 110
    assert 0.8 <= min(heights) < 1.0 and 2.3 < max(heights) <= 2.5
    pitches = [config.pitch_deg for config in configs]
    assert -7.0 <= min(pitches) < -6.0 and 2.0 < max(pitches) <= 3.0
    for given in ("fx", "camera_height_m", "pitch_deg"):
        assert {getattr(config, given) for config in plain} == {None}
    assert [config.seed for config in configs] == list(range(40))


# Killed and resumed

KILLED = """
import os, signal, sys
from training import prepare
from training.preparation import run

run.tqdm.write = lambda _: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(prepare.main(sys.argv[1:]))
"""
"""Prepares a set and dies of SIGKILL when its first source is complete and about to be printed."""


def prepare_and_kill(repository: Path, arguments: list[str]) -> None:
    """Returns when the worker processes, which share the pipe, have ended too."""
    process = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        cwd=repository,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr


@pytest.fixture(scope="module")
def whole_streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The streets, prepared without interruption."""
    path = tmp_path_factory.mktemp("streets")
    assert prepare.main([*STREETS, str(path)]) == 0
    return path


def test_killed_preparation_resumes(repository: Path, tmp_path: Path, whole_streets: Path) -> None:
    command = [*STREETS, str(tmp_path)]
    prepare_and_kill(repository, command)
    assert not (tmp_path / "index.json").exists()
    done = json.loads((tmp_path / "index.partial.json").read_text())["sequences"]
    assert len(done) == 1
    assert prepare.main(command) == 0
    assert_same_files(tmp_path, whole_streets)
    prepared = PreparedSet.open(tmp_path)
    assert [s.count for s in prepared.sequences] == [2] * 2
    assert all(s.has_depth and s.poses is not None for s in prepared.sequences)


def test_killed_processes_leave_finished_parts(
    repository: Path, tmp_path: Path, whole_streets: Path
) -> None:
    command = [*STREETS, "--jobs", "2", str(tmp_path)]
    prepare_and_kill(repository, command)
    assert not (tmp_path / "index.json").exists()
    assert list(tmp_path.glob("parts/*/index.json"))
    assert prepare.main(command) == 0
    assert_same_files(tmp_path, whole_streets)


@pytest.mark.parametrize("more", [(), ("--min-change", "3"), ("--every", "2"), ("--limit", "9")])
def test_interrupted_source_continues(
    tmp_path: Path,
    images: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    """What is in the set is not decoded again; the last image before the interruption is."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert prepare.main(folder_arguments(whole, images, *more)) == 0
    monkeypatch.setattr("training.preparation.writer.SAVE_EVERY", 2)
    decoded: list[str] = []
    read = folder.read_image

    def counting(file: Path, *options: Any) -> np.ndarray:
        decoded.append(file.stem)
        if len(decoded) == 8:
            raise KeyboardInterrupt
        return read(file, *options)

    monkeypatch.setattr(folder, "read_image", counting)
    assert prepare.main(folder_arguments(cut, images, *more)) == 130
    assert (cut / "index.open.json").exists() and not (cut / "index.json").exists()
    before = set(decoded[2:])  # the source is opened twice, which reads its first image
    decoded[:] = ["many"] * 8
    assert prepare.main(folder_arguments(cut, images, *more)) == 0
    assert_same_files(cut, whole)
    assert len(before & set(decoded[10:])) <= 4


# Jobs, failures and options


@pytest.mark.parametrize(
    ("options", "jobs"), [(("--every", "4", "--interleave"), "2"), (("--min-change", "3"), "3")]
)
def test_jobs_give_the_same_bytes(
    tmp_path: Path, images: tuple[Path, Path], options: tuple[str, ...], jobs: str
) -> None:
    """Four recordings in two processes, and one recording in three threads."""
    one, many = tmp_path / "one", tmp_path / "many"
    assert prepare.main(folder_arguments(one, images, *options)) == 0
    assert prepare.main(folder_arguments(many, images, *options, "--jobs", jobs)) == 0
    assert_same_files(one, many)
    assert (len(PreparedSet.open(one).frames) < 12) == ("--min-change" in options)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_unusable_source_is_left_out(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    made, calibration = images
    folders = [tmp_path / name for name in ("first", "broken", "absent", "last")]
    for other in (folders[0], folders[1], folders[3]):
        shutil.copytree(made, other)
    (folders[1] / "7.png").write_bytes(b"no image")
    out = tmp_path / "set"
    inputs = [word for path in folders for word in ("--images", str(path))]
    inputs += ["--calib", str(calibration)]
    command = ["folder", str(out), *SMALL, *inputs, "--jobs", jobs]
    assert prepare.main(command) == 1
    error = capsys.readouterr().err
    assert "2 sources are left out" in error and "Traceback" not in error
    assert "7.png" in error and "absent" in error
    names = [record.name for record in PreparedSet.open(out).sequences]
    assert [name.split("/")[-1] for name in names] == ["first", "last"]

    shutil.copy(made / "7.png", folders[1])
    shutil.copytree(made, folders[2])
    assert prepare.main(command) == 0
    assert [record.count for record in PreparedSet.open(out).sequences] == [12] * 4


def test_two_sources_of_one_name_are_refused(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = folder_arguments(tmp_path / "set", images, "--images", str(images[0]))
    assert prepare.main(command) == 1
    assert "two sources" in capsys.readouterr().err


def test_other_options_are_refused(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert prepare.main(folder_arguments(out, images)) == 0
    before = (out / "frames.u8").read_bytes()
    assert prepare.main(folder_arguments(out, images)) == 0
    assert prepare.main(folder_arguments(out, images, "--every", "2")) == 1
    assert "with other options" in capsys.readouterr().err
    assert (out / "frames.u8").read_bytes() == before


def test_provenance_stays(tmp_path: Path, images: tuple[Path, Path]) -> None:
    """A set of an earlier version is recognized by this text and not prepared again."""
    assert prepare.main(folder_arguments(tmp_path, images)) == 0
    settings = "every 1, limit None, min_change 0.0, max_gap 2.0, input auto, phase 0"
    (record,) = PreparedSet.open(tmp_path).sequences
    assert record.provenance == f"folder {images[0]}; {settings}"


def test_frames_are_thinned_out(tmp_path: Path, images: tuple[Path, Path]) -> None:
    def counts(name: str, *more: str) -> list[int]:
        assert prepare.main(folder_arguments(tmp_path / name, images, *more)) == 0
        return [s.count for s in PreparedSet.open(tmp_path / name).sequences]

    assert counts("all") == [12]
    assert counts("third", "--every", "3") == [4]
    assert counts("interleaved", "--every", "5", "--interleave") == [3, 3, 2, 2, 2]
    assert counts("limited", "--every", "3", "--limit", "2") == [2]
    assert counts("gaps", "--every", "3", "--max-gap", "0.2") == [1] * 4
    every, third = (PreparedSet.open(tmp_path / name) for name in ("all", "third"))
    np.testing.assert_array_equal(every.frames[::3], third.frames)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["folder", "--images", "{images}"], "calib"),
        (["folder", "--images", "{images}", "--calib", "/nowhere.yaml"], "nowhere.yaml"),
        (["folder", "--images", "/nowhere", "--calib", "{calibration}"], "/nowhere"),
        (["kitti", "--root", "{images}"], "no KITTI drive"),
        (["video", "--file", "/nowhere.mp4", "--calib", "{calibration}"], "nowhere.mp4"),
        (["bag", "--file", "/nowhere.bag"], "nowhere.bag"),
    ],
)
def test_mistake_is_one_line(
    tmp_path: Path,
    images: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    filled = [text.format(images=images[0], calibration=images[1]) for text in more]
    assert prepare.main([*filled, str(tmp_path / "set"), *SMALL]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-2-3"])
def test_wrong_range_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        prepare.parse(["synthetic", "out", f"--seeds={text}"])


def test_prepare_does_without_torch(repository: Path) -> None:
    """So that a worker process starts in half a second."""
    program = "import sys; from training import prepare; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True)


# Frames


def wall_source(frames: Iterable[PreparedFrame]) -> list[SourceItem]:
    """The wall as a source, without files."""
    items = []
    for frame in frames:
        height, width = frame.rgb.shape[:2]
        fx, fy, cx, cy = frame.K
        camera = CameraIntrinsics(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)
        image = Frame(stamp_ns=frame.stamp_ns, rgb=frame.rgb, intrinsics=camera)
        pose, depth = frame.T_world_camera, frame.depth_m
        items.append(SourceItem(frame=image, T_world_camera=pose, depth_m=depth))
    return items


def small_options(*more: str) -> FrameOptions:
    return prepare.frame_options(prepare.parse(["synthetic", "unused", *SMALL, *more]))


def test_images_fit_their_calibration(
    tmp_path: Path, images: tuple[Path, Path], wall_frames: Frames
) -> None:
    """The wall rendered with the prepared camera is the prepared image."""
    assert prepare.main(folder_arguments(tmp_path / "set", images)) == 0
    prepared = PreparedSet.open(tmp_path / "set")
    (record,) = prepared.sequences
    assert np.diff(record.stamps_ns).tolist() == [100_000_000] * 11
    fx, fy, cx, cy = record.K
    expected = list(wall_frames(12, 64, 64, K=record.K))
    moved = list(wall_frames(12, 64, 64, K=(fx, fy, cx + 1.0, cy)))
    error = np.abs(prepared.frames.astype(float) - [f.rgb for f in expected]).mean()
    assert error < 1.0
    assert np.abs(prepared.frames.astype(float) - [f.rgb for f in moved]).mean() > 3 * error


def test_depth_and_poses_are_kept(wall_frames: Frames) -> None:
    frames = list(prepared_frames(wall_source(wall_frames(2, 128, 96)), small_options()))
    for frame, expected in zip(frames, wall_frames(2, 64, 64, K=frames[0].K), strict=True):
        assert frame.depth_m is not None and expected.depth_m is not None
        assert frame.T_world_camera is not None and expected.T_world_camera is not None
        np.testing.assert_allclose(frame.depth_m, expected.depth_m, rtol=0.005)
        np.testing.assert_array_equal(frame.T_world_camera, expected.T_world_camera)


def test_static_frames_are_dropped(wall_frames: Frames) -> None:
    moving = list(wall_frames(3))
    still = wall_source([moving[0], moving[0], moving[1], moving[1], moving[2]])
    assert len(list(prepared_frames(still, small_options("--min-change", "1")))) == 3
    assert len(list(prepared_frames(still, small_options()))) == 5


def test_headline(wall_set: PreparedSet) -> None:
    line = measure(wall_set).headline()
    (first, second) = wall_set.sequences
    assert first.poses is not None and second.poses is not None
    motion = np.linalg.norm(np.diff(first.poses[:, :3, 3], axis=0), axis=1).mean()
    assert str(wall_set.path) in line and "80 frames 64x64 in 2 sequences" in line
    gray = wall_set.frames.astype(float) @ [0.299, 0.587, 0.114]
    changes = [np.abs(np.diff(gray[i : i + 40], axis=0)).mean((1, 2)) for i in (0, 40)]
    assert f" {(np.concatenate(changes) < 2.0).mean():.0%} static" in line
    assert f"{motion:.2f} m per frame" in line and "80 with depth" in line


def test_distorted_camera_is_rectified(shared_data: Path, tmp_path: Path) -> None:
    highway = shared_data / "udacity_highway"
    command = ["folder", str(tmp_path / "raw"), "--images", str(highway / "image_raw")]
    command += ["--calib", str(highway / "camera_info.yaml"), "--limit", "2", "--no-report"]
    assert prepare.main(command) == 0
    command[1] = str(tmp_path / "as_is")
    assert prepare.main([*command, "--input", "rectified"]) == 0
    raw, as_is = (PreparedSet.open(tmp_path / name) for name in ("raw", "as_is"))
    assert raw.frames.shape == as_is.frames.shape == (2, 128, 416, 3)
    difference = np.abs(raw.frames.astype(float) - as_is.frames).mean(axis=(0, 1, 3))
    assert difference[:40].mean() > difference[180:236].mean()
