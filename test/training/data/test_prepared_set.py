"""The prepared format: written, interrupted, continued, damaged and read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from prepared_sets import Frames, assert_same_files, write_set

from sfm_ros.errors import SourceError
from training.data.sequence import PreparedFrame, PreparedSet
from training.preparation.writer import PreparedWriter


def test_written_set_is_read_back(tmp_path: Path, wall_frames: Frames) -> None:
    writer = PreparedWriter(tmp_path, 64, 32)
    writer.add("known", wall_frames(5, 64, 32), "closed form")
    writer.add("unknown", wall_frames(4, 64, 32, ground_truth=False), "without ground truth")
    prepared = writer.finish()
    known, unknown = prepared.sequences
    originals = list(wall_frames(5, 64, 32))
    assert prepared.frames.shape == (9, 32, 64, 3)
    assert (known.start, known.count, unknown.start, unknown.count) == (0, 5, 5, 4)
    assert known.K == originals[0].K
    assert known.stamps_ns == tuple(f.stamp_ns for f in originals)
    assert unknown.poses is None and not unknown.has_depth
    assert known.poses is not None and prepared.depth_m is not None
    for i, original in enumerate(originals):
        assert original.T_world_camera is not None and original.depth_m is not None
        np.testing.assert_array_equal(prepared.frames[i], original.rgb)
        np.testing.assert_allclose(known.poses[i], original.T_world_camera, rtol=0, atol=0)
        np.testing.assert_allclose(prepared.depth_m[i], original.depth_m, rtol=2**-11)
    assert not prepared.depth_m[5:].any()


def test_index_keys_stay(tmp_path: Path, wall_frames: Frames) -> None:
    """Sets of every version are read by every other."""
    write_set(tmp_path, (replace(f, speed_m_s=1.0) for f in wall_frames(2)))
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["format"] == "sfm_ros.prepared/1"
    assert list(index) == ["format", "width", "height", "sequences"]
    keys = "name source start count K stamps_ns has_depth poses provenance speeds_m_s"
    assert list(index["sequences"][0]) == keys.split()


def test_height_of_the_camera_is_kept(tmp_path: Path, wall_frames: Frames) -> None:
    (record,) = write_set(tmp_path, wall_frames(3), camera_height_m=1.4).sequences
    assert record.camera_height_m == 1.4
    for height in (0, -1.4, "high"):
        index = json.loads((tmp_path / "index.json").read_text())
        index["sequences"][0]["camera_height_m"] = height
        (tmp_path / "index.json").write_text(json.dumps(index))
        with pytest.raises(SourceError, match="damaged"):
            PreparedSet.open(tmp_path)


def test_unknown_depth_is_zero(tmp_path: Path, wall_frames: Frames) -> None:
    frame = next(wall_frames(1))
    depth = np.array(frame.depth_m)
    depth[0, :4] = [np.nan, np.inf, -1.0, 1e6]
    stored = write_set(tmp_path, [replace(frame, depth_m=depth)]).depth_m
    assert stored is not None
    assert stored[0, 0, :3].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(stored[0, 0, 3]) and stored[0, 0, 3] > 60_000


def test_jump_of_time_or_camera_starts_new_sequence(tmp_path: Path, wall_frames: Frames) -> None:
    frames = list(wall_frames(9))
    frames[3:] = [replace(f, stamp_ns=f.stamp_ns + 5_000_000_000) for f in frames[3:]]
    frames[7:] = [replace(f, K=(50.0, 50.0, 31.5, 31.5)) for f in frames[7:]]
    sequences = write_set(tmp_path, frames).sequences
    assert [(s.start, s.count) for s in sequences] == [(0, 3), (3, 4), (7, 2)]
    assert len({s.name for s in sequences}) == 3


def write(path: Path, frames: Frames, stop_after: int | None = None) -> None:
    """Two sources; the second one breaks off after ``stop_after`` frames, as if killed."""
    writer = PreparedWriter(path, 64, 64)
    for name, count in (("a", 6), ("b", 8)):
        if writer.provenance_of(name) is not None:
            continue
        recording = list(frames(count))
        if name == "b" and stop_after is not None:
            writer.add(name, broken(recording[:stop_after]), "")
        writer.add(name, recording, "")
    writer.finish()


def broken(frames: list[PreparedFrame]) -> Iterator[PreparedFrame]:
    yield from frames
    raise InterruptedError("killed")


def test_interrupted_set_is_refused_then_resumed(tmp_path: Path, wall_frames: Frames) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write(whole, wall_frames)
    with pytest.raises(InterruptedError):
        write(cut, wall_frames, stop_after=5)
    with pytest.raises(SourceError, match="unfinished"):
        PreparedSet.open(cut)
    write(cut, wall_frames)
    assert_same_files(whole, cut)


def test_finished_set_can_be_extended(tmp_path: Path, wall_frames: Frames) -> None:
    write(tmp_path, wall_frames)
    writer = PreparedWriter(tmp_path, 64, 64)
    with pytest.raises(SourceError, match="already"):
        writer.add("a", wall_frames(3), "")
    writer.add("c", wall_frames(3), "")
    assert [s.name for s in writer.finish().sequences] == ["a", "b", "c"]


def edit_index(path: Path, change: Callable[[dict], object]) -> None:
    values = json.loads((path / "index.json").read_text())
    change(values)
    (path / "index.json").write_text(json.dumps(values))


def replace_by_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: os.truncate(p / "frames.u8", 1000), "1000 bytes"),
        (lambda p: (p / "frames.u8").unlink(), "missing"),
        (lambda p: (p / "depth.f16").unlink(), "depth.f16 is missing"),
        (lambda p: os.truncate(p / "index.json", 60), "damaged"),
        (lambda p: (p / "index.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda p: edit_index(p, lambda v: v.update(format="other/9")), "other/9"),
        (lambda p: edit_index(p, lambda v: v["sequences"][0].pop("K")), "damaged"),
        (lambda p: edit_index(p, lambda v: v["sequences"][1].update(start=2)), "starts at"),
        (lambda p: edit_index(p, lambda v: v.update(width=65)), "65x64"),
        (lambda p: edit_index(p, lambda v: v.update(sequences=[])), "expected 0 for 0 frames"),
        (lambda p: edit_index(p, lambda v: v.update(width=-64, height=-64)), "damaged.*-64x-64"),
        (lambda p: edit_index(p, lambda v: v["sequences"][0].update(count=10**12)), "damaged"),
        (lambda p: edit_index(p, lambda v: v["sequences"][0].update(count=1e400)), "damaged"),
        (
            lambda p: edit_index(p, lambda v: v["sequences"][0].update(has_depth="no")),
            "damaged.*'no', expected true or false",
        ),
        (lambda p: (p / "index.json").write_text("[" * 100_000), "damaged"),
        (lambda p: replace_by_link(p / "frames.u8", Path("/dev/zero")), "leaves the folder"),
        (
            lambda p: replace_by_link(p / "depth.f16", p.parent / "index.json"),
            "leaves the folder",
        ),
    ],
)
def test_damage_is_named(
    tmp_path: Path, wall_frames: Frames, damage: Callable[[Path], object], message: str
) -> None:
    write(tmp_path, wall_frames)
    damage(tmp_path)
    with pytest.raises(SourceError, match=message):
        PreparedSet.open(tmp_path)


def test_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="prepare.py"):
        PreparedSet.open(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="not a prepared set"):
        PreparedSet.open(tmp_path)


def test_frames_of_another_size_are_refused(tmp_path: Path, wall_frames: Frames) -> None:
    with pytest.raises(SourceError, match="shape"):
        PreparedWriter(tmp_path / "a", 32, 32).add("a", wall_frames(2), "")
    with pytest.raises(SourceError, match="no frames"):
        PreparedWriter(tmp_path / "b", 64, 64).add("a", [], "")
    write(tmp_path / "c", wall_frames)
    with pytest.raises(SourceError, match="64x64.*32x32"):
        PreparedWriter(tmp_path / "c", 32, 32)
