"""What the doctor asks of other nodes, whose answers may be lost or late."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rcl_interfaces.msg import ParameterValue
from rclpy.task import Future

from sfm_ros.ros.doctor.live import SystemWatch

ANSWER = SimpleNamespace(values=[ParameterValue(type=2, integer_value=7)])


class Client:
    """Of a node; ``answered[i]`` holds the requests whose answers come while number i waits."""

    def __init__(self, answered: list[list[int]]) -> None:
        self.answered, self.asked = answered, list[Future]()

    def wait_for_service(self, timeout_sec: float) -> bool:
        return True

    def call_async(self, request: object) -> Future:
        self.asked.append(Future())
        return self.asked[-1]

    def spin_until_future_complete(self, future: Future, timeout_sec: float) -> None:
        assert future is self.asked[-1]
        for index in self.answered[len(self.asked) - 1]:
            self.asked[index].set_result(ANSWER)


@pytest.mark.parametrize(
    ("answered", "requests", "expected"),
    [
        ([[0]], 1, {"a": 7}),
        ([[], [1]], 2, {"a": 7}),  # the first answer is lost
        ([[], [0]], 2, {"a": 7}),  # it is late
        ([[], []], 2, {}),
    ],
)
def test_parameters_are_asked_for_again(
    answered: list[list[int]], requests: int, expected: dict[str, int]
) -> None:
    client = Client(answered)
    watch = SystemWatch.__new__(SystemWatch)
    watch._executor = client  # type: ignore[assignment]
    watch._node = SimpleNamespace(  # type: ignore[assignment]
        create_client=lambda *_: client, destroy_client=lambda _: None
    )
    assert watch.parameters("/node", ["a"]) == expected
    assert len(client.asked) == requests
