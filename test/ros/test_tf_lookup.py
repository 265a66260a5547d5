"""Transforms over the middleware, looked up and broadcast: without tf2_ros, and with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from rig.probe import Probe, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")

from geometry_msgs.msg import TransformStamped
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rig import fake_tf2_ros
from tf2_msgs.msg import TFMessage

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.ros import compat
from sfm_ros.ros.compat import STATIC_TF_LISTENER_QOS, STATIC_TF_QOS
from sfm_ros.ros.conversions import T_BODY_OPTICAL, header, pose_message, transform_message
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.transform_broadcaster import OdometryBroadcaster
from sfm_ros.ros.rate_limit import TimeBudget
from sfm_ros.ros.tf_lookup import (
    UNLIMITED,
    BufferLookup,
    Lookup,
    TreeLookup,
    make_lookup,
)

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
KINDS = {"tree": TreeLookup, "tf2_ros": BufferLookup}


def turned(degrees: float) -> FloatArray:
    return make_transform(so3_exp([0, 0, np.radians(degrees)]), np.zeros(3))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two implementations is installed."""
    monkeypatch.setattr(compat, "tf2_ros", fake_tf2_ros if request.param == "tf2_ros" else None)
    return request.param


class Robot:
    """Publishes transforms, in a namespace of the middleware that one test has to itself."""

    def __init__(self, probe: Probe, space: str) -> None:
        self._probe, self.space = probe, space

    def move(self, parent: str, child: str, T: FloatArray, stamp_ns: int) -> None:
        message = transform_message(T, stamp_ns, parent, child)
        self._probe.publish(f"{self.space}/tf", TFMessage(transforms=[message]))

    def fix(self, parent: str, child: str, T: FloatArray) -> None:
        message = TFMessage(transforms=[transform_message(T, 0, parent, child)])
        self._probe.publish(f"{self.space}/tf_static", message, STATIC_TF_QOS)

    def subscriptions(self) -> tuple[int, int]:
        """How many there are to /tf and /tf_static."""
        count = self._probe.node.count_subscribers
        return count(f"{self.space}/tf"), count(f"{self.space}/tf_static")


@pytest.fixture
def robot(kind: str, request: pytest.FixtureRequest, probe: Probe) -> Robot:
    return Robot(probe, f"/{request.function.__name__}_{kind}")


@pytest.fixture
def node(robot: Robot, executor: MultiThreadedExecutor) -> Node:
    """A node that an executor spins, with its TF topics in the robot's space."""
    remaps = ["-r", f"/tf:={robot.space}/tf", "-r", f"/tf_static:={robot.space}/tf_static"]
    made = Node("eye", context=executor.context, cli_args=["--ros-args", *remaps], namespace="/ns")
    executor.add_node(made)
    return made


@pytest.fixture
def lookup(kind: str, node: Node) -> Iterator[Lookup]:
    """What looks transforms up for the node."""
    made = make_lookup(node)
    assert made is not None and isinstance(made, KINDS[kind])
    yield made
    made.close()  # closing it twice does no harm


def test_chain_is_found_at_a_time_and_newest(lookup: Lookup, robot: Robot) -> None:
    robot.fix("pan", "eye", turned(3.0))
    for index in range(3):
        robot.move("base", "pan", turned(10.0 * index), START + index * SECOND // 10)
    newest = turned(23.0)

    def has_arrived() -> bool:
        found = lookup.find("base", "eye")
        return found is not None and np.allclose(found, newest)

    wait_until(has_arrived, "the newest transform")
    assert lookup.find("base", "eye", START + SECOND // 20) == pytest.approx(turned(8.0))
    assert lookup.find("base", "eye", START + SECOND) is None  # later than the newest
    assert not lookup.is_static("base", "eye") and lookup.is_static("pan", "eye")
    assert lookup.has_parent("eye") and not lookup.has_parent("base")
    assert lookup.find("base", "elsewhere") is None


def test_corrected_static_transform_replaces_the_first(lookup: Lookup, robot: Robot) -> None:
    assert not lookup.has_parent("eye")
    for degrees in (3.0, 7.0):
        robot.fix("base", "eye", turned(degrees))

        def has_arrived(degrees: float = degrees) -> bool:
            found = lookup.find("base", "eye", START)
            return found is not None and np.allclose(found, turned(degrees))

        wait_until(has_arrived, f"{degrees} degrees")


def test_transforms_continue_after_the_clock_was_set_back(lookup: Lookup, robot: Robot) -> None:
    """A bag that loops: the images' stamps go back, and those of the transforms with them."""
    for stamp_ns, degrees in ((START + 100 * SECOND, 5.0), (START, 9.0)):
        assert lookup.find("base", "pan", stamp_ns) is None

        def is_found(stamp_ns: int = stamp_ns, degrees: float = degrees) -> bool:
            robot.move("base", "pan", turned(degrees), stamp_ns)
            found = lookup.find("base", "pan", stamp_ns)
            return found is not None and np.allclose(found, turned(degrees))

        wait_until(is_found, f"the transform at {stamp_ns}")


def test_moving_transforms_are_unsubscribed_alone(lookup: Lookup, robot: Robot) -> None:
    wait_until(lambda: robot.subscriptions() == (1, 1), "both subscriptions")
    lookup.ignore_moving()
    wait_until(lambda: robot.subscriptions() == (0, 1), "the end of that to /tf")
    robot.fix("base", "eye", turned(3.0))
    wait_until(lambda: lookup.find("base", "eye") is not None, "the static transform")


def test_close_unsubscribes_while_an_executor_spins(
    lookup: Lookup, robot: Robot, probe: Probe
) -> None:
    wait_until(lambda: robot.subscriptions() == (1, 1), "both subscriptions")
    wait_until(lambda: "eye" in probe.node.get_node_names(), "the node")
    lookup.close()
    wait_until(lambda: robot.subscriptions() == (0, 0), "the end of both")
    wait_until(lambda: "eye_tf" not in probe.node.get_node_names(), "the end of its own node")
    assert "eye" in probe.node.get_node_names()


def test_lookup_ends_with_its_context(lookup: Lookup, executor: MultiThreadedExecutor) -> None:
    executor.context.try_shutdown()
    lookup.close()


def test_without_tf_messages_there_is_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tf2_ros", "tf2_msgs"):
        monkeypatch.setattr(compat, name, None)
    assert make_lookup(None) is None  # type: ignore[arg-type]
    assert compat.transform_message_class() is None


def test_missing_module_is_none() -> None:
    assert compat._optional("a_package_that_is_not_installed") is None
    assert compat._optional("sys") is sys


def test_broadcasters_publish_until_they_are_closed(
    node: Node, robot: Robot, probe: Probe
) -> None:
    broadcaster = OdometryBroadcaster(node, is_inverted=False)
    extrinsics = Extrinsics(
        child="body",
        optical_frame="eye",
        T_body_camera=T_BODY_OPTICAL,
        is_known=False,
        publish_optical_frame=True,
    )
    moving = probe.listen(f"{robot.space}/tf", TFMessage)
    fixed = probe.listen(f"{robot.space}/tf_static", TFMessage, STATIC_TF_LISTENER_QOS)

    def has_arrived() -> bool:
        odom = header(START, "odom")
        broadcaster.send(odom, pose_message(np.eye(4)), np.eye(4), extrinsics)
        return bool(moving and fixed)

    wait_until(has_arrived, "both transforms")
    names = [
        (t.header.frame_id, t.child_frame_id) for m in (moving[0], fixed[0]) for t in m.transforms
    ]
    assert names == [("odom", "body"), ("body", "eye")]
    before = len(list(node.publishers))
    broadcaster.close()
    assert len(list(node.publishers)) == before - 2


# ---- what others must not do ------------------------------------------------------------------


class Tree:
    """The lookup without the middleware, and why it refused transforms."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.lookup = TreeLookup(SilentNode(), None, self.refused.append)  # type: ignore[arg-type]

    def receive(self, *transforms: TransformStamped, topic: str = "/tf") -> None:
        self.receive_bytes(serialize_message(TFMessage(transforms=transforms)), topic)

    def receive_bytes(self, data: bytes, topic: str = "/tf") -> None:
        self.lookup._on_message(topic, data)


class SilentNode:
    def create_subscription(self, *_: object, **__: object) -> None:
        """Nothing is ever received."""


def far_away(meters: float, child: str = "eye") -> TransformStamped:
    message = transform_message(np.eye(4), 0, "base", child)
    message.transform.translation.y = meters
    return message


@pytest.mark.parametrize("meters", [1.1e8, 1e150, -1e308, np.nan, np.inf])
def test_absurd_transform_is_refused_with_its_numbers(meters: float) -> None:
    tree = Tree()
    tree.receive(far_away(meters), far_away(1.0, "arm"), topic="/tf_static")
    assert tree.lookup.find("base", "eye") is None
    assert tree.lookup.find("base", "arm") is not None
    (reason,) = tree.refused
    assert f"{meters:g}" in reason and "'base' to 'eye'" in reason and "at most 1e+08 m" in reason


@pytest.mark.parametrize("name", ["x" * 5_000, "eye\x1b[2J\n[INFO] all is well"])
def test_frames_with_other_names_are_refused(name: str) -> None:
    tree = Tree()
    tree.receive(far_away(1.0, name))
    assert not tree.lookup.has_parent(name)
    assert len(tree.refused[0]) < 500 and tree.refused[0].isprintable()


def test_static_frames_beyond_the_room_are_refused() -> None:
    tree = Tree()
    for begin in range(0, 1200, 100):
        frames = [far_away(1.0, f"s{i}") for i in range(begin, begin + 100)]
        tree.receive(*frames, topic="/tf_static")
    assert len(tree.refused) == 2 and "at most 1000 static frames" in tree.refused[0]
    assert tree.lookup.has_parent("s0")


@pytest.mark.parametrize("data", [b"", b"\0\1\0\0\xff\xff\xff\xff", b"\xff" * 1000])
def test_message_that_is_none_is_refused(data: bytes) -> None:
    tree = Tree()
    tree.receive_bytes(data)
    assert "cannot be read" in tree.refused[0]


def test_message_that_takes_long_to_read_is_refused() -> None:
    tree = Tree()
    tree.receive_bytes(bytes(1 << 20))
    assert "has 1048576 bytes, expected at most 262144" in tree.refused[0]


def test_flood_is_dropped_beyond_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, now_s = Tree(), 100.0
    tree.lookup._budgets["/tf"] = TimeBudget(0.5, 0.5, lambda: now_s)

    def take_long(*_: object) -> None:
        nonlocal now_s
        now_s += 0.2

    monkeypatch.setattr(tree.lookup, "_add", take_long)
    for _ in range(30):
        tree.receive(far_away(1.0))
    assert 6 > now_s - 100.0 > 0.4  # the burst, and not all of it
    assert "/tf takes more than 50% of a core" in tree.refused[-1]
    dropped = len(tree.refused)
    now_s += 1.0
    tree.receive(far_away(1.0))
    assert len(tree.refused) == dropped


def test_nothing_is_dropped_in_an_evaluation() -> None:
    now_s = 0.0
    budget = TimeBudget(UNLIMITED, 0.5, lambda: now_s)
    for _ in range(100):
        assert budget.is_left()
        with budget:
            now_s += 0.4
