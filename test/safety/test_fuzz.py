"""Damaged files of others are refused with our own errors, or read as something possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import write_bundle
from mutations import share_of, tried
from mutations.calibration_files import SAMPLES
from mutations.checks import assert_in_order, assert_possible, assert_rigid
from mutations.trajectory_files import POSES, TIMES

from sfm_ros.cameras.pixels import choose_camera
from sfm_ros.config import SfmConfig, config_to_dict, load_config
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.trajectory_files import read_pose_file
from sfm_ros.model_spec import ModelSpec
from sfm_ros.safety.documents import parse_yaml
from sfm_ros.sources.timestamps import read_times


def test_calibrations(tmp_path: Path) -> None:
    def read(name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        size = (512, 512) if "fisheye" in name else (640, 480)
        stated = read_camera(path, *size, names=("/cam1/image_raw",))
        chosen = choose_camera(stated, ("/cam1/image_raw",))
        camera = chosen.intrinsics
        assert_possible(camera)
        assert (camera.width, camera.height) == size and chosen.text

    samples = {name: text.encode() for name, text in SAMPLES.items()}
    for name, content in samples.items():
        read(name, content)
    results = tried(samples, share_of(0.35), read)
    assert results["CalibrationError"] > 0 and results["read"] > 0


def test_model_cards(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", np.full((32, 64), 9.0, np.float32), np.eye(4))
    path = bundle / "model.yaml"
    sample = {"model.yaml": path.read_bytes()}

    def read(_: str, content: bytes) -> None:
        path.write_bytes(content)
        spec = ModelSpec.load(bundle)
        assert spec.width > 0 and spec.height > 0 and spec.training_fx > 0

    results = tried(sample, share_of(0.1), read)
    assert results["ModelError"] > 0


def test_options(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "options.yaml"
    sample = {"options.yaml": (repository / "config/sfm.yaml").read_bytes()}

    def read(_: str, content: bytes) -> None:
        path.write_bytes(content)
        config = load_config(path)
        for block in config_to_dict(config).values():
            for value in block.values():
                assert not isinstance(value, float) or np.isfinite(value)
        assert isinstance(config, SfmConfig)

    results = tried(sample, share_of(0.1), read)
    assert results["ConfigError"] > 0


def test_trajectories(tmp_path: Path) -> None:
    def read(name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        found = read_pose_file(path)
        for trajectory in (found.trajectory, found.timed()):
            assert_rigid(trajectory)
            assert_in_order(trajectory.stamps_ns.tolist())

    samples = {name: text.encode() for name, text in POSES.items()}
    for name, content in samples.items():
        read(name, content)
    results = tried(samples, share_of(0.15), read)
    assert results["TrajectoryError"] > 0 and results["read"] > 0


def test_times(tmp_path: Path) -> None:
    def read(name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        assert_in_order(read_times(path)[0])

    samples = {name: text.encode() for name, text in TIMES.items()}
    for name, content in samples.items():
        read(name, content)
    results = tried(samples, share_of(0.1), read)
    assert results["SourceError"] > 0 and results["read"] > 0


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "a: !!python/object:os.system x\n"])
def test_the_mutations_reach_what_yaml_can_do(text: str) -> None:
    with pytest.raises(Exception, match="alias|constructor"):
        parse_yaml(text)
