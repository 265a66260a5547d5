"""Checks the topic of the images: is there a publisher, one alone, and does all of it arrive?"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from sfm_ros.bags.camera import IMAGE_TYPES
from sfm_ros.doctor.middleware import is_fast_dds, profile_advice
from sfm_ros.errors import printable
from sfm_ros.ros.graph import listed, publishers_on
from sfm_ros.ros.node.run_statistics import RunStatistics
from sfm_ros.ros.process.dds_profile import SHIPPED

_FIRST_IMAGE_S = 3.0
_MOST_TOPICS = 8
"""Topics that a line names."""
_FEW_LOST, _SMALL_SHARE = 10, 0.02
"""Losses up to these are no reason to change the middleware: a busy moment loses some images."""


class CameraCheck:
    """Logs what is wrong with the images, each fault once until it has passed or changes.

    Args:
        node: looks at the graph, and logs.
        statistics: counts the images.
        topic: of the images, as subscribed to.
        takes_every: ``node.image_queue`` is ``every``: a recording is played.
    """

    def __init__(
        self, node: Node, statistics: RunStatistics, topic: str, takes_every: bool
    ) -> None:
        self._node, self._statistics = node, statistics
        self._topic, self._takes_every = topic, takes_every
        self._is_silent = self._has_lost = False
        self._cause = ""
        self._publishers = 1

    def check(self) -> None:
        """Check everything; called once a second."""
        self._check_for_silence()
        self._check_for_several_publishers()
        self._check_for_losses()

    def _check_for_silence(self) -> None:
        waited_s, silent_s = self._statistics.waiting_for_s(), self._statistics.silent_for_s()
        is_silent = silent_s is not None or (waited_s or 0.0) > _FIRST_IMAGE_S
        if is_silent and silent_s is None:
            self._log_that_none_came(waited_s or 0.0)
        elif silent_s is not None and not self._is_silent:
            self._log_that_they_ceased(silent_s)
        if not is_silent:
            self._cause = ""
        self._is_silent = is_silent

    def _log_that_none_came(self, waited_s: float) -> None:
        """Again if the cause changes: on a busy machine others are discovered late."""
        publishers = self._names(self._topic)
        if publishers:
            cause = f"its publishers have sent none: {publishers}"
        else:
            cause = f"nobody publishes there. {self._advice()}"
        if cause == self._cause:
            return
        self._cause = cause
        text = f"no image on {self._topic} for {waited_s:.0f} s; {cause}"
        if publishers and self._takes_every:  # on two lines: rclpy allows one severity in each
            self._node.get_logger().info(f"{text} (a player may wait for other programs)")
        else:
            self._node.get_logger().warning(text)

    def _advice(self) -> str:
        """The topics of images that there are, and how one of them is named."""
        offered = self._offered_topics()
        if not offered:
            return (
                "There is no other topic of images either: is the camera's driver running, with "
                "the same ROS_DOMAIN_ID? sfm_doctor checks"
            )
        topics = ", ".join(f"{printable(t)} ({self._names(t)})" for t in offered[:_MOST_TOPICS])
        return (
            f"Topics of images: {topics}. Name yours: image_topic:=TOPIC camera_info_topic:=TOPIC "
            "in the launch file, or -r image:=TOPIC -r camera_info:=TOPIC"
        )

    def _offered_topics(self) -> list[str]:
        """Topics of images that others publish."""
        own = {publisher.topic_name for publisher in self._node.publishers}
        return sorted(
            topic
            for topic, types in self._node.get_topic_names_and_types()
            if topic not in own
            and set(IMAGE_TYPES) & set(types)
            and self._node.count_publishers(topic)
        )

    def _log_that_they_ceased(self, silent_s: float) -> None:
        publishers = self._names(self._topic)
        if self._takes_every and not publishers:
            received = self._statistics.counts()["received"]
            self._statistics.end()
            self._node.get_logger().info(
                f"the bag is over, its player has left {self._topic}: {received} images received"
            )
        else:
            self._node.get_logger().warning(
                f"no image on {self._topic} for {silent_s:.1f} s; publishers there: "
                f"{publishers or 'none'}"
            )

    def _check_for_several_publishers(self) -> None:
        count = self._node.count_publishers(self._topic)
        if count > max(self._publishers, 1):
            problem = (
                f"{count} publishers on {self._topic} ({self._names(self._topic)}): their images "
                "are mixed; end all but one, or give each camera a topic and a node of its own "
                "(namespace:=NAME in the launch files)"
            )
            self._statistics.report(problem)
            self._node.get_logger().warning(problem)
        self._publishers = count

    def _check_for_losses(self) -> None:
        counts = self._statistics.counts()
        lost, sent = counts["lost_in_transport"], counts["lost_in_transport"] + counts["received"]
        if self._has_lost or lost < _FEW_LOST or lost < _SMALL_SHARE * sent:
            return
        self._has_lost = True
        problem = f"{lost} of {sent} images on {self._topic} were lost in transport; "
        if is_fast_dds(get_rmw_implementation_identifier()):
            problem += f"Fast DDS loses large ones by default: {profile_advice(SHIPPED)}"
        else:
            problem += "see 'messages are lost' in docs/troubleshooting.md"
        self._statistics.report(problem)
        self._node.get_logger().warning(problem)

    def _names(self, topic: str) -> str:
        """The nodes that publish on a topic; empty if nobody does."""
        return listed(publishers_on(self._node, topic))
