"""A camera that sends rubbish at 30 Hz must not fill the log."""

from __future__ import annotations

from sfm_ros.ros.node.throttle import LogThrottle


class Clock:
    """Time that stands still until told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_same_message_is_said_once_a_period_and_another_at_once() -> None:
    said: list[str] = []
    clock = Clock()
    throttle = LogThrottle(said.append, period_s=5.0, clock=clock)
    for _ in range(100):
        throttle("bad step")
    throttle("bad size")
    assert said == ["bad step", "bad size"]
    clock.now = 4.9
    throttle("bad step")
    assert len(said) == 2
    clock.now = 5.0
    throttle("bad step")
    assert said[2:] == ["bad step"]


def test_ever_new_messages_are_limited_too() -> None:
    said: list[str] = []
    clock = Clock()
    throttle = LogThrottle(said.append, period_s=5.0, limit=3, clock=clock)
    for number in range(100):
        throttle(f"bad stamp {number}")
    assert len(said) == 3
    clock.now = 6.0
    throttle("bad stamp 3")
    assert len(said) == 4
