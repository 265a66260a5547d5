"""ATE and RPE agree with the independent program evo, for every alignment, to 1e-6.

evo is run as a separate tool: ``pip install evo`` into an environment of its own, and name its
``bin`` folder in SFM_EVO_BIN (or have it on PATH).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sfm_ros.cli.evaluate import main
from sfm_ros.formats.trajectory import associate
from sfm_ros.formats.trajectory_files import read_trajectory, write_tum

# evo's options -> our alignments that must give the same figures.
FLAGS = {
    "": ("none",),
    "-s": ("scale",),
    "-a": ("se3", "6dof"),
    "-as": ("sim3", "7dof"),
    "--align_origin": ("origin",),
}
NAMES = ("example_0_09", "KITTI_00_ORB", "freiburg1_xyz-ORB_kf_mono")


@pytest.fixture(scope="session")
def evo() -> dict[str, str]:
    """Paths of the two programs."""
    folder = os.environ.get("SFM_EVO_BIN")
    found = {name: shutil.which(name, path=folder) for name in ("evo_ape", "evo_rpe")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        searched = f"in SFM_EVO_BIN={folder}" if folder else "on PATH (or set SFM_EVO_BIN)"
        pytest.skip(f"no {' and '.join(missing)} {searched}; pip install evo into its own venv")
    return {name: str(path) for name, path in found.items()}


def _write_files(shared_data: Path, name: str, folder: Path) -> tuple[Path, Path]:
    """Ground truth and estimate as TUM files with exact rotations, read alike by both programs."""
    source = shared_data / "oracle_odometry"
    if name.startswith("freiburg"):
        ground_truth_file = "freiburg1_xyz-groundtruth.txt"
    else:
        ground_truth_file = "gt_09.txt" if "09" in name else "KITTI_00_gt.txt"
    ground_truth = read_trajectory(source / ground_truth_file)
    estimate = read_trajectory(source / f"{name}.txt")
    in_estimate, in_ground_truth = associate(estimate, ground_truth)
    write_tum(folder / "ground_truth.tum", ground_truth.select(in_ground_truth))
    write_tum(folder / "estimate.tum", estimate.select(in_estimate))
    return folder / "ground_truth.tum", folder / "estimate.tum"


def _evo(command: list[str], files: tuple[Path, Path], folder: Path) -> dict[str, float]:
    """The metrics that evo_ape or evo_rpe saves."""
    program, *options = command
    name = "_".join([Path(program).name, *options])
    saved = folder / f"{name}.zip"
    subprocess.run(
        [program, "tum", *map(str, files), *options, "--save_results", str(saved)],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "HOME": str(folder), "MPLBACKEND": "Agg"},  # it writes its settings
    )
    with zipfile.ZipFile(saved) as archive:
        return json.loads(archive.read("stats.json"))


@pytest.mark.parametrize("name", NAMES)
def test_ate_and_rpe_equal_evo(shared_data, evo, tmp_path, name):
    files = _write_files(shared_data, name, tmp_path)
    ape, rpe = evo["evo_ape"], [evo["evo_rpe"], "-d", "1", "-u", "f", "-r"]
    # The rotation from one pose to the next does not depend on the alignment.
    angle = _evo([*rpe, "angle_deg"], files, tmp_path)
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            flag: [
                pool.submit(_evo, [*command, *([flag] if flag else [])], files, tmp_path)
                for command in ([ape], [*rpe, "trans_part"])
            ]
            for flag in FLAGS
        }
    for flag, alignments in FLAGS.items():
        positions, motions = (job.result() for job in jobs[flag])
        expected = {
            "ate_m": positions["rmse"],
            "rpe_m": motions["mean"],
            "rpe_rmse_m": motions["rmse"],
            "rpe_deg": angle["mean"],
            "rpe_rmse_deg": angle["rmse"],
        }
        for alignment in alignments:
            out = tmp_path / f"{alignment}.json"
            arguments = ["trajectory", *map(str, files), "--align", alignment, "--json", str(out)]
            assert main(arguments) == 0
            ours = json.loads(out.read_text())
            for key, value in expected.items():
                assert ours[key] == pytest.approx(value, abs=1e-6), (alignment, key)
