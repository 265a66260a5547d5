"""Poses are read in the order of columns that other tools write, or refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfm_ros.cli.evaluate import main
from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import read_pose_file, read_trajectory, write_tum
from sfm_ros.geometry import quat_xyzw_from_matrix, se3_exp

START_NS = 1_520_530_308_199_447_626
VINS = "timestamp,x,y,z,qw,qx,qy,qz,-,-,-"


def path_of(count: int = 24) -> Trajectory:
    random = np.random.default_rng(5)
    steps = [se3_exp([0.1, 0.0, 1.0, *random.normal(size=3) * 0.2]) for _ in range(count)]
    poses = np.array([np.linalg.multi_dot([np.eye(4), np.eye(4), *steps[: i + 1]])
                      for i in range(count)])  # fmt: skip
    return Trajectory(START_NS + 50_000_001 * np.arange(count), poses)


PATH = path_of()


def lines_of(
    line: Callable[[int, list[str], list[str]], str], header: str = "", path: Trajectory = PATH
) -> str:
    """A file with a line for each stamp, position and quaternion (x, y, z, w)."""
    lines = [
        line(int(stamp), [repr(float(v)) for v in pose[:3, 3]],
             [repr(float(v)) for v in quat_xyzw_from_matrix(pose[:3, :3])])
        for stamp, pose in zip(path.stamps_ns, path.poses, strict=True)
    ]  # fmt: skip
    return "\n".join([header, *lines, ""])


def w_first(q: list[str]) -> list[str]:
    return [q[3], *q[:3]]


EUROC_HEADER = (
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], "
    "q_RS_z [], v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], b_w_RS_S_x [rad s^-1], "
    "b_w_RS_S_y [rad s^-1], b_w_RS_S_z [rad s^-1], b_a_RS_S_x [m s^-2], b_a_RS_S_y [m s^-2], "
    "b_a_RS_S_z [m s^-2]"
)
ECHO_HEADER = "%time,field.header.seq,field.header.stamp,field.header.frame_id," + ",".join(
    [f"field.pose.pose.{name}" for name in ("position.x", "position.y", "position.z")]
    + [f"field.pose.pose.orientation.{axis}" for axis in "xyzw"]
    + ["field.pose.covariance0", "field.twist.twist.linear.x", "field.twist.twist.angular.z"]
)
TABLES = {
    "EuRoC": lines_of(
        lambda ns, t, q: ",".join([str(ns), *t, *w_first(q), *["0.25"] * 9]), EUROC_HEADER
    ),
    "TUM-VI": lines_of(
        lambda ns, t, q: ",".join([str(ns), *t, *w_first(q)]),
        "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],"
        "q_RS_z []",
    ),
    "ORB-SLAM3": lines_of(lambda ns, t, q: " ".join([f"{ns}.000000", *t, *q])),
    "header with spaces, qw first": lines_of(
        lambda ns, t, q: " ".join([f"{ns / 1e9:.6f}", *t, *w_first(q)]),
        "# a path\n# timestamp [s] tx ty tz qw qx qy qz",
    ),
    "header of names, position last": lines_of(
        lambda ns, t, q: ";".join([*q, str(ns // 1000), *t]), "qx;qy;qz;qw;time_us;x;y;z"
    ),
    "rostopic echo -p": lines_of(
        lambda ns, t, q: ",".join([str(ns + 7), "3", str(ns), "world", *t, *q, "0", "9", "9"]),
        ECHO_HEADER,
    ),
    "seconds and nanoseconds apart": lines_of(
        lambda ns, t, q: ",".join([str(ns // 10**9), str(ns % 10**9), *t, *q]),
        "header.stamp.sec,header.stamp.nanosec,pose.position.x,pose.position.y,pose.position.z,"
        "pose.orientation.x,pose.orientation.y,pose.orientation.z,pose.orientation.w",
    ),
}  # fmt: skip
"""The same path as several tools write it."""


def write(folder: Path, text: str) -> Path:
    file = folder / "path.csv"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_other_tools(name: str, tmp_path: Path) -> None:
    found = read_trajectory(write(tmp_path, TABLES[name]))
    np.testing.assert_allclose(found.poses, PATH.poses, atol=1e-9)
    differences = np.abs(found.stamps_ns - PATH.stamps_ns)
    assert differences.max() <= (1000 if name.startswith("header") else 0)


@pytest.mark.parametrize("name", TABLES)
def test_a_path_has_no_error_against_itself(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tum(tmp_path / "gt.tum", PATH)
    file, figures = write(tmp_path, TABLES[name]), tmp_path / "figures.json"
    command = ["trajectory", str(tmp_path / "gt.tum"), str(file), "--align", "none"]
    assert main([*command, "--json", str(figures)]) == 0
    assert "24 poses by stamp" in capsys.readouterr().out
    values = json.loads(figures.read_text())
    assert values["ate_m"] < 1e-6 and values["rpe_deg"] < 1e-3


def vins(trailing: str = ",") -> str:
    return lines_of(
        lambda ns, t, q: ",".join([str(ns), *t, *w_first(q), "0.1", "0.2", "0.3"]) + trailing
    )


def test_commas_without_header_need_the_columns(tmp_path: Path) -> None:
    file = write(tmp_path, vins())
    with pytest.raises(TrajectoryError, match="line 2: 11 columns between commas.*--columns"):
        read_pose_file(file)
    found = read_pose_file(file, VINS)
    np.testing.assert_allclose(found.trajectory.poses, PATH.poses, atol=1e-9)
    assert "taken as nanoseconds, by their size" in found.remarks[0]
    with pytest.raises(TrajectoryError, match="11 columns, expected the 8"):
        read_pose_file(file, "timestamp,x,y,z,qx,qy,qz,qw")


def test_columns_of_one_file_or_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tum(tmp_path / "gt.tum", PATH)
    files = ["trajectory", str(tmp_path / "gt.tum"), str(write(tmp_path, vins()))]
    assert main([*files, "--columns", VINS]) == 1
    assert "gt.tum, line 1: 8 columns, expected 11" in capsys.readouterr().err
    tum = "stamp,x,y,z,qx,qy,qz,qw"
    assert main([*files, "--columns", tum, "--columns", VINS]) == 0
    assert "note          " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*files, *["--columns", VINS] * 3])


def tartan(path: Trajectory = PATH) -> str:
    """x forward, y right, z down: the optical axes z, x, y."""
    order = [2, 0, 1]
    return lines_of(
        lambda ns, t, q: " ".join([t[i] for i in order] + [q[i] for i in order] + [q[3]]),
        path=path,
    )


def test_seven_columns_are_those_of_tartan_air(tmp_path: Path) -> None:
    found = read_pose_file(write(tmp_path, tartan()))
    assert (found.kind, found.is_timed, found.frames) == ("TartanAir", False, None)
    np.testing.assert_allclose(found.trajectory.poses, PATH.poses, atol=1e-9)
    assert "axes x forward, y right, z down" in found.remarks[0]
    stamps = PATH.stamps_ns.tolist()
    assert found.timed(stamps).stamps_ns.tolist() == stamps
    with pytest.raises(TrajectoryError, match="24 poses for 25 frames"):
        found.timed([*stamps, stamps[-1] + 1])


POSE = "1 2 3 0 0 0 1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("# timestamp x y z roll pitch yaw\n0 1 2 3 0.1 0.2 0.3\n", "lacks qx, qy, qz, qw"),
        ("time,x,y,z,qx,qy,qz\n0,1,2,3,0,0,0\n", "which lacks qw"),
        ("t,x,y,z,gt_x,gt_y,gt_z,qx,qy,qz,qw,q_w\n", "holds no pose"),
        ("t,x,y,z,px,py,pz,qx,qy,qz,qw\n0,1,2,3,1,2,3,0,0,0,1\n", "x and px both hold tx"),
        ("t,x [mm],y [mm],z [mm],qx,qy,qz,qw\n0,1,2,3,0,0,0,1\n", "not in meters"),
        (f"0 {POSE}\n# t x y z qw qx qy qz\n1 {POSE}\n", "line 2: other columns"),
        (f"t x y z qx qy qz qw\n0 {POSE}\n1 {POSE} 5\n", "line 3: 9 columns, expected"),
        (f"t x y z qw qx qy qz\n0 {POSE} 4\n", "line 2: 9 columns, expected 8"),
        ("0 1 2 3 0.1 0.2 0.3 0.1\n", "length 0.387, expected 1.*stamp tx ty tz qx qy qz qw"),
        (
            f"timestamp[ns] x y z qx qy qz qw\n1.5 {POSE}\n",
            "states nanoseconds, but a time is 1.5",
        ),
        (f"t[s] x y z qx qy qz qw\n1e18 {POSE}\n", "states seconds, but by their size"),
        (f"2e10 {POSE}\n", "beyond 9223372036 seconds, the year 2262"),
        (f"sec nanosec x y z qx qy qz qw\n1 1000000000 {POSE}\n", "expected below 1000000000"),
        ("1520530308199447626 1 0 0 0 0 1 0 0 0 0 1 0\n", "the index is 1520530308199447626"),
    ],
)
def test_unclear_columns_are_refused(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match=named):
        read_pose_file(write(tmp_path, text))


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ("a,b", "the columns are 'a,b', expected a list such as"),
        ("t,x,y,z,qx,qy,qz", "lacks qw"),
        ("t,x,y,z,qw,qx,qy,qz", "has a header, which names other columns"),
    ],
)
def test_stated_columns_are_checked(columns: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match=named):
        read_pose_file(write(tmp_path, f"t x y z qx qy qz qw\n0 {POSE}\n"), columns)


@pytest.mark.parametrize(
    ("times", "unit_ns"),
    [
        (["0", "0.1", "0.2"], 10**9),
        (["1520530308", "1520530309"], 10**9),
        (["1600000000", "1600003600", "1600007200"], 10**9),
        (["1520530308199", "1520530308299"], 10**6),
        (["1520530308199447", "1520530308299447"], 1000),
        (["1520530308199447626", "1.520530308299447626e18"], 1),
        (["0", "33333333", "66666667"], 1),
        (["0", "33333", "66667"], 1000),
    ],
)
def test_the_unit_of_times_is_recognized(times: list[str], unit_ns: int, tmp_path: Path) -> None:
    file = write(tmp_path, "".join(f"{time} {POSE}\n" for time in times))
    found = read_pose_file(file)
    expected = [round(float(time) * unit_ns) for time in times]
    assert np.abs(found.trajectory.stamps_ns - np.array(expected)).max() <= 512  # of a float
    assert bool(found.remarks) == (unit_ns != 10**9)


def test_a_stated_unit_holds_whatever_the_size_of_the_times(tmp_path: Path) -> None:
    lines = [f"{index * 1_000_000} {POSE}\n" for index in range(3)]
    found = read_pose_file(write(tmp_path, "".join(["time_us x y z qx qy qz qw\n", *lines])))
    assert found.trajectory.stamps_ns.tolist() == [0, 10**9, 2 * 10**9] and not found.remarks


@pytest.mark.parametrize("header", ["", "timestamp [ns] x y z qx qy qz qw\n"])
@pytest.mark.parametrize("number", ["1e40", "1e1000000", "-1e28"])
def test_a_number_beyond_any_time_is_refused(header: str, number: str, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match=f"the stamp is '{number}', expected a number"):
        read_pose_file(write(tmp_path, f"{header}0 {POSE}\n{number} {POSE}\n"))


def test_whole_numbers_of_an_unclear_unit_are_refused(tmp_path: Path) -> None:
    text = "".join(f"{index * 1_500_000} {POSE}\n" for index in range(4))
    with pytest.raises(TrajectoryError, match="microseconds or nanoseconds; convert"):
        read_pose_file(write(tmp_path, text))
