"""A file of poses, or of times, of every program: a camera that moves ahead and turns."""

from __future__ import annotations

import math

_COUNT = 8
_START_NS = 1_403_636_580_838_555_648
_PERIOD_NS = 100_000_000


def _pose(index: int) -> tuple[list[float], list[float]]:
    """Position, and the quaternion xyzw of a turn about y."""
    half = 0.02 * index
    return [0.1 * index, 0.0, 1.3 * index], [0.0, math.sin(half), 0.0, math.cos(half)]


def _seconds(index: int) -> str:
    whole, rest = divmod(_START_NS + index * _PERIOD_NS, 10**9)
    return f"{whole}.{rest:09d}"


def _tum() -> str:
    rows = (
        " ".join([_seconds(index), *map(repr, [*position, *quaternion])])
        for index in range(_COUNT)
        for position, quaternion in [_pose(index)]
    )
    return "# timestamp tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n"


def _tartan() -> str:
    rows = (
        " ".join(map(repr, [*position, *quaternion]))
        for position, quaternion in map(_pose, range(_COUNT))
    )
    return "\n".join(rows) + "\n"


def _euroc() -> str:
    head = (
        "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
        "q_RS_z [], v_RS_R_x [m s^-1]\n"
    )
    rows = (
        ",".join(map(str, [_START_NS + index * _PERIOD_NS, *position, w, x, y, z, 1.3]))
        for index in range(_COUNT)
        for position, (x, y, z, w) in [_pose(index)]
    )
    return head + "\n".join(rows) + "\n"


def _table() -> str:
    """As `ros2 topic echo --csv` and spreadsheets have it."""
    rows = (
        ";".join(map(str, [index, *divmod(index * _PERIOD_NS, 10**9), *position, *quaternion]))
        for index in range(_COUNT)
        for position, quaternion in [_pose(index)]
    )
    return "seq;sec;nanosec;x;y;z;qx;qy;qz;qw\n" + "\n".join(rows) + "\n"


def _kitti(with_index: bool) -> str:
    lines = []
    for index in range(_COUNT):
        (x, y, z), _ = _pose(index)
        c, s = math.cos(0.04 * index), math.sin(0.04 * index)
        row = [c, 0.0, s, x, 0.0, 1.0, 0.0, y, -s, 0.0, c, z]
        lines.append(" ".join([str(2 * index)] * with_index + [f"{v:.6e}" for v in row]))
    return "\n".join(lines) + "\n"


POSES = {
    "groundtruth.txt": _tum(),
    "pose_left.txt": _tartan(),
    "data.csv": _euroc(),
    "table.csv": _table(),
    "03.txt": _kitti(False),
    "indexed.txt": _kitti(True),
}
"""Name of a file -> its text."""

TIMES = {
    "times.txt": "".join(f"{0.1037 * index:.6e}\n" for index in range(_COUNT)),
    "seconds.txt": "".join(f"{_seconds(index)}\n" for index in range(_COUNT)),
    "nanoseconds.txt": "".join(f"{_START_NS + index * _PERIOD_NS}\n" for index in range(_COUNT)),
    "timestamps.txt": "".join(f"2011-09-26 13:02:25.{index}64389445\n" for index in range(_COUNT)),
}
"""The same of files of times."""
