"""With images that wait for the node, what ``depth.mode: auto`` does depends on no time."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from rig.fake_node import FORWARD
from rig.own_node import OwnNode

STEPS_TO_DECIDE = 30
BUSY_S = 0.09
"""Of a step; a live node would give several views up at 0.07, images being a tenth apart."""


def test_slow_steps_do_not_end_several_views(own_node: Callable[..., OwnNode]) -> None:
    fake = json.dumps({"busy_s": BUSY_S})
    node = own_node("/slow", fake=fake, depth__mode="auto", node__image_queue="every")
    node.calibrate()

    def has_decided() -> bool:
        return int(values().get("processed", 0)) > STEPS_TO_DECIDE + 5

    def values() -> dict[str, str]:
        return {pair.key: pair.value for pair in node.states[-1].values} if node.states else {}

    node.show_until(has_decided, "enough steps", FORWARD)
    assert values()["depth"] == "multiview"
