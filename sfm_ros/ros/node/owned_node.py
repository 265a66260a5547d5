"""What is made on a node, so that it can be unmade without touching what belongs to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node


class Owned:
    """A node that remembers the publishers, subscriptions, services and timers made through it.

    Everything else is the node's own. On a node there is more than one object makes: rclpy listens
    to /clock, a program around the node may have topics of its own.

    Args:
        node: the node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._made: list[tuple[Callable[[Any], object], Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def create_publisher(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`rclpy.node.Node`."""
        made = self._node.create_publisher(*args, **kwargs)
        return self._keep(self._node.destroy_publisher, made)

    def create_subscription(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`rclpy.node.Node`."""
        made = self._node.create_subscription(*args, **kwargs)
        return self._keep(self._node.destroy_subscription, made)

    def create_service(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`rclpy.node.Node`."""
        return self._keep(self._node.destroy_service, self._node.create_service(*args, **kwargs))

    def create_timer(self, *args: Any, **kwargs: Any) -> Any:
        """See :class:`rclpy.node.Node`."""
        return self._keep(self._node.destroy_timer, self._node.create_timer(*args, **kwargs))

    def destroy_subscription(self, subscription: Any) -> None:
        """See :class:`rclpy.node.Node`; ends one before its time."""
        self._made = [(end, entity) for end, entity in self._made if entity is not subscription]
        self._node.destroy_subscription(subscription)

    def close(self) -> None:
        """Destroy all that was made, the newest first."""
        while self._made:
            destroy, entity = self._made.pop()
            destroy(entity)

    def _keep(self, destroy: Callable[[Any], object], entity: Any) -> Any:
        self._made.append((destroy, entity))
        return entity
