"""Programs on the real middleware, and a node in the test's own process."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
HELPERS = REPOSITORY / "test" / "helpers"
FAKE_NODE = [sys.executable, "-m", "rig.fake_node"]
REAL_NODE = [sys.executable, "-m", "sfm_ros.ros.node"]
PLAYER = [sys.executable, "-m", "sfm_ros.ros.tools.player"]
TIMEOUT_S = 300.0
"""Of every wait: far longer than it takes, for a machine that does much else may be slow."""
_ASK_AGAIN_S = 15.0


def ros_arguments(**parameters: Any) -> list[str]:
    """Command line that sets these parameters; ``__`` stands for the dot."""
    pairs = [f"{name.replace('__', '.')}:={value}" for name, value in parameters.items()]
    return ["--ros-args", *itertools.chain.from_iterable(("-p", pair) for pair in pairs)]


def wait_until(
    condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = TIMEOUT_S
) -> Any:
    """The condition's first true value; fails after a bounded time, naming what was awaited."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    pytest.fail(f"waited {timeout_s:g} s in vain for {what() if callable(what) else what}")


class Program:
    """A process and its output so far."""

    def __init__(self, command: list[str], domain: int) -> None:
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, HELPERS))),
            "PYTHONUNBUFFERED": "1",
        }
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def output(self) -> str:
        """All output so far."""
        return "".join(self._lines)

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """As `wait_until`, with the output in the failure."""
        return wait_until(condition, lambda: f"{what}; the output:\n{self.output}")

    def wait_for(self, pattern: str, since: int = 0) -> str:
        """Wait until the output from character ``since`` on matches a regular expression."""
        self.wait_until(lambda: re.search(pattern, self.output[since:]), f"'{pattern}'")
        return self.output[since:]

    def end(self, signal_number: int | None = None) -> int:
        """The exit code, after a signal if one is given."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def kill(self) -> None:
        """End it, whatever it is doing."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Probe:
    """A node in the test's own process: publishes, and keeps what it receives."""

    def __init__(self, domain: int, reliable: bool = True) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy

        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.domain = domain
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._qos = QoSProfile(depth=100, reliability=policy)
        self._publishers: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self._context.ok():  # else it was closed
                raise

    def listen(self, topic: str, message_type: type, qos: Any = 1000) -> list:
        """Subscribe; the list returned grows."""
        received: list = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def publish(self, topic: str, message: Any, qos: Any = None) -> None:
        """Publish; the first message to a topic once there is a subscription."""
        if topic not in self._publishers:
            publisher = self.node.create_publisher(type(message), topic, qos or self._qos)
            self._publishers[topic] = publisher
            self.wait_for_subscription(topic)
        self._publishers[topic].publish(message)

    def wait_for_subscription(self, topic: str) -> None:
        """Wait until what is published to a topic is received."""
        publisher = self._publishers[topic]
        wait_until(publisher.get_subscription_count, f"a subscription to {topic}")

    def unplug(self, topic: str) -> None:
        """Destroy the publisher; the next message has another."""
        self.node.destroy_publisher(self._publishers.pop(topic))

    def call(self, kind: Any, name: str, request: Any = None) -> Any:
        """The response of a service whose requests may be repeated.

        A node may answer before it has discovered who asked: that response is lost, on a busy
        machine. So it is asked again.
        """
        client = self.node.create_client(kind, name)
        wait_until(client.service_is_ready, f"the service {name}")
        calls: list[tuple[float, Any]] = []

        def answered() -> Any:
            if not calls or time.monotonic() - calls[-1][0] > _ASK_AGAIN_S:
                future = client.call_async(request or kind.Request())
                calls.append((time.monotonic(), future))
            return next((future for _, future in calls if future.done()), None)

        future = wait_until(answered, f"a response of {name}")
        self.node.destroy_client(client)
        return future.result()

    def client(self, kind: Any, name: str) -> Any:
        """A client whose every request is answered, for requests that must not be repeated.

        Endpoints are announced in order: a node that answers a later client knows this one.
        """
        from rcl_interfaces.srv import ListParameters

        client = self.node.create_client(kind, name)
        wait_until(client.service_is_ready, f"the service {name}")
        self.call(ListParameters, f"{name.rpartition('/')[0]}/list_parameters")
        return client

    def close(self) -> None:
        """Leave the middleware."""
        self._context.try_shutdown()
        self._thread.join(TIMEOUT_S)
        self.node.destroy_node()
