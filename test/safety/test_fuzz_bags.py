"""Damaged recordings and networks: our own errors, or what is missing is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bundles import tilted_wall
from limited import run_limited
from mutations import mutated_bytes, mutated_files, share_of, tried
from mutations.bag_files import IMAGES, KINDS, METADATA, POSES, TOPIC, small_bag, storage_file
from mutations.checks import assert_in_order, assert_possible, assert_rigid

from sfm_ros.bags.pose_messages import read_poses
from sfm_ros.errors import SfmRosError
from sfm_ros.sources.bag import BagSource

PARTS = 40
"""Lengths to which every recording is cut."""
ENGINE = """
import json, sys
from collections import Counter
from pathlib import Path
import numpy as np
from sfm_ros.config import HealthConfig, ModelConfig
from sfm_ros.output_checks import check_depth, check_motion
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.errors import SfmRosError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.window import Window

LIMITS = HealthConfig()
bundle, results = Path(sys.argv[1]), Counter()
sound = ModelSpec.load(bundle)
graphs = {name: (bundle / name).read_bytes() for name in (sound.depth_file, sound.pose_file)}
image = np.zeros((sound.height, sound.width, 3), np.uint8)
camera = CameraIntrinsics(width=sound.width, height=sound.height, fx=50, fy=50, cx=32, cy=16)
window = Window(images=(image,) * 3, stamps_ns=(0, 1, 2), intrinsics=camera)
for file in sorted(Path(sys.argv[2]).iterdir()):
    name = file.name.partition("-")[2]
    (bundle / name).write_bytes(file.read_bytes())
    try:
        sound.save(bundle)  # with hashes that fit: whoever damages a graph can do that as well
        found = OnnxEngine(bundle, ModelConfig(threads=1)).infer(window)
        assert found.depth.shape == image.shape[:2] and found.T_prev_curr.shape == (4, 4), file
        refused = check_depth(found.depth, LIMITS) or check_motion(found.T_prev_curr, 0.1, LIMITS)
        results[refused[0].value if refused else "read"] += 1
    except SfmRosError as error:
        assert str(error).strip()
        results[type(error).__name__] += 1
    finally:
        (bundle / name).write_bytes(graphs[name])
print(json.dumps(results))
"""


def read_all(bag: Path) -> int:
    """Read the images and poses of a bag; how many images are possible and complete.

    Raises:
        SfmRosError: nothing can be read, or ground truth is damaged.
    """
    source = BagSource(bag, TOPIC)
    items = list(source)
    for item in items:
        camera = item.frame.intrinsics
        assert_possible(camera)
        assert item.frame.rgb.shape == (camera.height, camera.width, 3)
        assert abs(item.frame.stamp_ns) < 2**63
    assert len(items) + source.skipped + source.unreadable >= len(source)
    assert len(items) == IMAGES or source.remarks
    trajectory, _ = read_poses(source.bag, POSES)
    assert_rigid(trajectory)
    assert_in_order(trajectory.stamps_ns.tolist())
    return len(items)


@pytest.mark.parametrize("kind", KINDS)
def test_bags(kind: str, tmp_path: Path) -> None:
    bag = small_bag(tmp_path, kind)
    file = storage_file(bag)
    alone = tmp_path / f"alone{file.suffix}"

    def read(_: str, content: bytes) -> None:
        alone.write_bytes(content)
        read_all(alone)

    assert read_all(bag) == IMAGES
    results = tried({file.name: file.read_bytes()}, share_of(0.06), read, mutated_bytes)
    assert results["SourceError"] > 0 and results["read"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_that_ends_early_is_never_taken_for_whole(kind: str, tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path, kind))
    content = file.read_bytes()
    for length in np.linspace(0, len(content) - 1, PARTS).astype(int):
        cut = tmp_path / f"cut{file.suffix}"
        cut.write_bytes(content[:length])
        try:
            read_all(cut)  # with fewer images: only with a remark
        except SfmRosError as error:
            assert str(error).strip()


def test_metadata_of_bags(tmp_path: Path) -> None:
    bag = small_bag(tmp_path, "mcap")
    path = bag / METADATA

    def read(_: str, content: bytes) -> None:
        path.write_bytes(content)
        read_all(bag)

    results = tried({METADATA: path.read_bytes()}, share_of(0.05), read)
    assert results["SourceError"] > 0 and results["read"] > 0


def test_graphs(tmp_path: Path, make_bundle) -> None:
    """In a process of its own: a library that ends it would end all tests."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    bundle = make_bundle(tilted_wall(), np.eye(4))
    samples = {file.name: file.read_bytes() for file in bundle.glob("*.onnx")}
    files = tmp_path / "files"
    files.mkdir()
    count = share_of(0.02)
    for index, (name, content) in enumerate(mutated_files(samples, count, 20, mutated_bytes)):
        (files / f"{index:05d}-{name}").write_bytes(content)
    run = run_limited(ENGINE, bundle, files, limit_mib=4096)
    assert run.code == 0, run.error
    results = Counter(json.loads(run.output.splitlines()[-2]))
    print(f"{results.total()} mutated files: {dict(results)}")
    assert results.total() == count and results["read"] and results["ModelError"]
