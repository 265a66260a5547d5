"""Published splits of KITTI into training, validation and test frames.

The tables in ``kitti_splits`` list a drive (raw) or a sequence (odometry) and ranges of frames:
``0-63/3 70`` is 0, 3, ... 63 and 70.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sfm_ros.errors import ConfigError
from sfm_ros.safety.documents import read_yaml

TABLES = Path(__file__).with_name("kitti_splits")

# name -> (table, table of excluded frames)
_SPLITS: dict[str, tuple[str, str | None]] = {
    "eigen": ("eigen", None),
    "eigen_26_28": ("eigen", None),
    "eigen_improved": ("eigen_improved", None),
    "static": ("static", None),
    "zhou": ("zhou", None),
    "zhou_train": ("zhou", "zhou_val"),
    "zhou_val": ("zhou_val", None),
    "odometry": ("odometry", None),
    "odometry_train": ("odometry", "odometry_val"),
    "odometry_val": ("odometry_val", None),
    "odometry_test": ("odometry_test", None),
}
SPLITS = tuple(_SPLITS)
"""Names of the splits.

``eigen``: the 697 frames of Eigen et al. 2014; ``eigen_26_28``: those of two dates;
``eigen_improved``: the 652 with the ground truth of Uhrig et al. 2017; ``static``: frames in
which the car hardly moves; ``zhou`` (``_train``, ``_val``): the frames from which Zhou et al. 2017
learn; ``odometry`` (``_train``, ``_val``): sequences 00 to 08; ``odometry_test``: 09 and 10.
"""

RAW_DRIVE_OF_SEQUENCE = {
    "00": "2011_10_03_drive_0027_sync",
    "01": "2011_10_03_drive_0042_sync",
    "02": "2011_10_03_drive_0034_sync",
    "03": "2011_09_26_drive_0067_sync",
    "04": "2011_09_30_drive_0016_sync",
    "05": "2011_09_30_drive_0018_sync",
    "06": "2011_09_30_drive_0020_sync",
    "07": "2011_09_30_drive_0027_sync",
    "08": "2011_09_30_drive_0028_sync",
    "09": "2011_09_30_drive_0033_sync",
    "10": "2011_09_30_drive_0034_sync",
}
"""Raw drives of the odometry sequences (from the devkit of the odometry benchmark)."""


def frames_of_split(name: str, camera: int | None = None) -> dict[str, list[int]]:
    """Frames of each drive or sequence of a split, ascending.

    Args:
        name: one of `SPLITS`.
        camera: 2 or 3, because the splits of the two color cameras may differ; None for both.

    Raises:
        ConfigError: unknown split.
    """
    if name not in _SPLITS:
        raise ConfigError(f"there is no split '{name}', expected one of {', '.join(SPLITS)}")
    table, excluded_table = _SPLITS[name]
    cameras = (2, 3) if camera is None else (camera,)
    frames: dict[str, set[int]] = {}
    for each in cameras:
        excluded = {} if excluded_table is None else _table(excluded_table, each)
        for drive, numbers in _table(table, each).items():
            frames.setdefault(drive, set()).update(numbers - excluded.get(drive, set()))
    if name == "eigen_26_28":
        dates = ("2011_09_26", "2011_09_28")
        frames = {drive: frames[drive] for drive in frames if drive.startswith(dates)}
    return {drive: sorted(numbers) for drive, numbers in frames.items() if numbers}


def parse_ranges(text: str) -> set[int]:
    """``0-63/3 70`` as numbers; ValueError if malformed."""
    numbers: set[int] = set()
    for word in text.split():
        ends, _, step = word.partition("/")
        first, _, last = ends.partition("-")
        numbers.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return numbers


def _table(name: str, camera: int) -> dict[str, set[int]]:
    return {
        drive: parse_ranges(text.get(camera, "") if isinstance(text, dict) else text)
        for drive, text in _read(name).items()
    }


@cache
def _read(name: str) -> Mapping[str, Any]:
    return read_yaml(TABLES / f"{name}.yaml")
