"""What rclpy refuses, as one line that names the cause."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from sfm_ros.errors import SfmRosError
from sfm_ros.ros.process.refusals import RefusalError, one_line_errors


def started(arguments: list[str]) -> None:
    context = Context()
    try:
        rclpy.init(args=["a", "--ros-args", *arguments], context=context)
        Node("a", context=context).destroy_node()
    finally:
        context.try_shutdown()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-p", "x"], "Couldn't parse parameter override rule: '-p x'"),
        (["--foo"], "unknown arguments of ROS ['--foo']"),
        (["-r", "__node:=a b"], "Couldn't parse remap rule: '-r __node:=a b'"),
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--log-level", "loud"], "--log-level loud"),
        (["-p", "use_sim_time:=3"], "expecting type 'BOOL'"),
    ],
)
def test_arguments(arguments: list[str], expected: str) -> None:
    with pytest.raises(SfmRosError) as refused, one_line_errors("before: "):
        started(arguments)
    text = str(refused.value)
    assert text.startswith("before: ") and expected in text
    assert "\n" not in text and ", at /" not in text


def test_a_name() -> None:
    with pytest.raises(SfmRosError) as refused, one_line_errors():
        rclpy.validate_full_topic_name.validate_full_topic_name("/a-b")
    assert "topic name must not contain" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a second line\nof it", "ends, at /project/src/rcl/a.c:35"])
def test_what_is_appended_is_left_out(text: str) -> None:
    assert str(RefusalError("", RuntimeError(text))) in ("a second line of it", "ends")


def test_a_folder_of_logs_that_cannot_be_made_is_named_with_its_variable() -> None:
    error = RuntimeError("failed to initialize logging: Failed to get logging directory, at /a:1")
    refusal = RefusalError("", error)
    assert refusal.advice == "set ROS_LOG_DIR to a folder that can be written"
    assert str(refusal).endswith(f"logging directory; {refusal.advice}")
