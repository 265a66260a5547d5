"""Options as ROS parameters: declared, refused, changed while the node runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from sfm_ros.config import SfmConfig, config_from_dict, iter_fields
from sfm_ros.errors import ConfigError
from sfm_ros.ros.node.parameters import Parameters, descriptor

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(domain: int) -> Iterator[MakeNode]:
    """Makes nodes with parameters: ``make_node("block.key:=value", name=...)``."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    nodes: list[Node] = []

    def make(*given: str, name: str = "eye") -> Node:
        words = [word for pair in given for word in ("-p", pair)]
        arguments = ["--ros-args", *words] if words else []
        nodes.append(Node(name, context=context, cli_args=arguments))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_every_option_is_declared_with_its_default(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    assert parameters.config == SfmConfig()
    for name, option, default in iter_fields():
        assert node.get_parameter(name).value == default
        assert node.describe_parameter(name).read_only is not option.metadata["live"]


def test_defaults_of_a_program_are_used(make_node: MakeNode) -> None:
    defaults = config_from_dict({"window": {"max_gap_s": 2.0}, "health": {"max_speed": 9.0}})
    parameters = Parameters(make_node("health.max_speed:=5.0"), defaults)
    assert parameters.config.window.max_gap_s == 2.0
    assert parameters.config.health.max_speed == 5.0


def test_integer_is_accepted_for_a_float(make_node: MakeNode) -> None:
    node = make_node("health.max_speed:=50")
    parameters = Parameters(node)
    assert parameters.config.health.max_speed == 50.0
    (result,) = node.set_parameters([Parameter("health.max_speed", value=60)])
    assert result.successful
    speed = parameters.config.health.max_speed
    assert speed == 60.0 and isinstance(speed, float)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("node.odom_fram:=map", "unknown parameter 'node.odom_fram'; known are: .*odom_frame"),
        ("node.delivery:=every", "'node.delivery' is now called 'node.image_queue'"),
        ("odom_frame:=map", "unknown parameter 'odom_frame'"),
        ("model.threads:=0", "model.threads"),
        ("health.max_speed:=fast", "'health.max_speed' is 'fast' .*expected float"),
        ("node.publish_tf:=3", "'node.publish_tf' is 3 .*expected bool"),
    ],
)
def test_wrong_parameter_is_refused(given: str, expected: str, make_node: MakeNode) -> None:
    with pytest.raises(ConfigError, match=expected):
        Parameters(make_node(given))


def test_parameters_of_another_node_are_not_ours(make_node: MakeNode) -> None:
    """Nodes of one process, whose command line names each of them."""
    given = "left:health.max_speed:=5.0", "right:something.else:=1"
    assert Parameters(make_node(*given, name="left")).config.health.max_speed == 5.0
    with pytest.raises(ConfigError, match=r"unknown parameter 'something\.else'"):
        Parameters(make_node(*given, name="right"))


def test_parameters_of_ros_are_not_refused(make_node: MakeNode) -> None:
    qos = "qos_overrides./image.subscription.depth:=3"
    Parameters(make_node("use_sim_time:=true", qos, "start_type_description_service:=false"))


def test_live_option_follows(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    before = parameters.config
    (result,) = node.set_parameters([Parameter("health.max_speed", value=5.0)])
    assert result.successful
    assert (before.health.max_speed, parameters.config.health.max_speed) == (70.0, 5.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("health.max_speed", "fast", "expected float"),
        ("node.publish_tf", 3, "expected bool"),
        ("node.odom_frame", "map", "read-only"),
    ],
)
def test_wrong_change_is_refused(name: str, value: Any, reason: str, make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful and reason in result.reason
    assert parameters.config == SfmConfig()


def test_changes_that_belong_together_are_all_made_or_none(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    changes = [Parameter("health.max_speed", value=5.0), Parameter("refine.enabled", value=3)]
    assert not node.set_parameters_atomically(changes).successful
    assert parameters.config == SfmConfig()


def test_parameter_of_another_owner_may_change(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    node.declare_parameter("gain", 1.0)
    (result,) = node.set_parameters([Parameter("gain", value=2.0)])
    assert result.successful and parameters.config == SfmConfig()


def test_description_has_ranges_and_choices() -> None:
    options = {name: descriptor(option) for name, option, _ in iter_fields()}
    threads = options["model.threads"].integer_range[0]
    assert (threads.from_value, threads.to_value) == (1, 64)
    assert options["health.max_speed"].floating_point_range[0].from_value == 0.0
    assert options["node.image_queue"].additional_constraints == "one of: newest, every"
    assert not options["node.odom_frame"].integer_range


def test_storm_of_changes_is_refused(make_node: MakeNode) -> None:
    node = make_node()
    parameters = Parameters(node)
    results = [
        node.set_parameters([Parameter("health.max_speed", value=50.0 + index % 2)])[0]
        for index in range(1000)
    ]
    refused = [result.reason for result in results if not result.successful]
    assert parameters.refused == len(refused) > 500
    assert "expected fewer" in refused[0] and results[0].successful


def test_reason_of_a_refusal_is_short_and_printable(make_node: MakeNode) -> None:
    node = make_node()
    Parameters(node)
    for value in ("x" * 5_000_000, "\x1b[2J\n.tum"):
        (result,) = node.set_parameters([Parameter("node.trajectory_file", value=value)])
        assert not result.successful
        assert result.reason.isprintable() and len(result.reason) < 1000
