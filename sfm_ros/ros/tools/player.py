"""Play a ROS 1 or ROS 2 bag without rosbag1 or rosbag2, or a KITTI drive from its folder.

Every topic of a bag whose type is installed is played. Topics are remapped as for any node:

    sfm_bag_player recording.bag --ros-args -r /cam/image:=/image
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from sfm_ros.cli.program import program_parser
from sfm_ros.errors import SourceError
from sfm_ros.ros.conversions import stamp_from_ns
from sfm_ros.ros.process.dds_profile import use_large_image_profile
from sfm_ros.ros.process.program import run
from sfm_ros.ros.tools.bag_tracks import Playable, PlayableBag
from sfm_ros.ros.tools.kitti_tracks import PlayableDrive
from sfm_ros.ros.tools.subscription_wait import add_wait_options, wait_for_nodes
from sfm_ros.sources.kitti.source import is_kitti

_NAME = "sfm_bag_player"
_TICK_S = 0.01
"""Longest sleep: the reaction time to a signal, and the step of /clock."""
_SHORTEST_PASS_S = 0.1
"""Least time between two starts of a looping bag: one message must not flood the topic."""
_ACKNOWLEDGE_S, _ACKNOWLEDGE_SLICE_S = 10.0, 0.25


class BagPlayer:
    """Publishes a bag's messages at the pace they were recorded.

    Args:
        node: the node that publishes; its remappings and namespace apply.
        bag: the recording.
        rate: 2 plays twice as fast; 0 plays as fast as the subscribers acknowledge.
        clock: publish /clock.
        best_effort: publish like a camera driver, instead of reliably.
        prefix: put before the name of every topic, /clock among them, as in ``/front``.
    """

    def __init__(
        self,
        node: Node,
        bag: Playable,
        rate: float = 1.0,
        clock: bool = False,
        best_effort: bool = False,
        prefix: str = "",
    ) -> None:
        self._node, self._bag, self._rate = node, bag, rate
        self._publishers = {
            track.topic: node.create_publisher(
                track.message_class,
                _below(prefix, track.topic),
                track.qos(best_effort, offline=rate == 0),
            )
            for track in bag.tracks
            if not (clock and track.topic == "/clock")  # one clock is enough
        }
        self._images = {track.topic for track in bag.tracks if track.is_image}
        self._latched = {track.topic for track in bag.tracks if track.is_latched}
        self._clock = (
            node.create_publisher(Clock, _below(prefix, "/clock"), QoSProfile(depth=10))
            if clock
            else None
        )
        self._in_pass: Counter[str] = Counter()
        self.published = 0

    def wait_for_subscribers(self, count: int, timeout_s: float) -> None:
        """Wait until this many of the topics, /clock among them, have a subscriber.

        Args:
            count: number of topics with a subscriber to wait for.
            timeout_s: how long to wait.

        Raises:
            SourceError: the time is over; names the topics without subscribers.
        """
        deadline = time.monotonic() + timeout_s
        publishers = self._all_publishers()
        while self._node.context.ok():
            lacking = [
                topic
                for topic, publisher in publishers.items()
                if not publisher.get_subscription_count()
            ]
            ready = len(publishers) - len(lacking)
            if ready >= count:
                return
            if time.monotonic() > deadline:
                raise SourceError(
                    f"after {timeout_s:g} s {ready} topics have their subscribers, expected "
                    f"{count}; too few subscribers on {', '.join(lacking)}"
                )
            time.sleep(_TICK_S)

    def play(self, max_images: int | None = None, loop: bool = False) -> None:
        """Publish everything, and return when every reliable subscriber has received it.

        Args:
            max_images: end a pass after this many images.
            loop: restart at the end, until a signal comes.

        Raises:
            SourceError: the bag turns out to be damaged.
        """
        pause_s = self._play_once(max_images)
        while loop and self.published and self._node.context.ok():
            if self._rate == 0:
                self._wait_for_all_acknowledgements()
            _sleep(self._node, pause_s)
            pause_s = self._play_once(max_images)
        self._wait_for_all_acknowledgements()

    def _play_once(self, max_images: int | None) -> float:
        """Publish everything once; returns how long to pause before the next pass."""
        started = time.monotonic()
        counts = self._in_pass = Counter[str]()
        images = begin_ns = end_ns = 0
        for topic, time_ns, raw in self._paced():
            if topic not in self._publishers:
                continue
            if topic in self._images:
                if images == max_images:
                    break
                images += 1
            self._publish(topic, time_ns, raw)
            begin_ns, end_ns = begin_ns if counts else time_ns, time_ns
            counts[topic] += 1
        if self._rate == 0:
            return 0.0
        periods = max(counts.values(), default=1) - 1
        period_s = (end_ns - begin_ns) * 1e-9 / periods / self._rate if periods else 0.0
        return max(period_s, started + _SHORTEST_PASS_S - time.monotonic())

    def progress(self) -> str:
        """How much of the recording the last pass has published, in words."""
        images = sum(self._in_pass[topic] for topic in self._images)
        tracks = (track for track in self._bag.tracks if track.topic in self._publishers)
        counts = {track.topic: track.count for track in tracks}
        of_images = sum(counts[topic] for topic in self._images)
        return (
            f"{images} of {of_images} images, "
            f"{self._in_pass.total()} of {sum(counts.values())} messages"
        )

    def _publish(self, topic: str, time_ns: int, raw: bytes) -> None:
        self._publishers[topic].publish(raw)
        self.published += 1
        if self._rate == 0 and topic not in self._latched:
            self._wait_for_acknowledgement(self._publishers[topic])
        self._tick(time_ns)

    def _all_publishers(self) -> dict[str, Any]:
        return self._publishers | ({} if self._clock is None else {"/clock": self._clock})

    def _paced(self) -> Iterator[tuple[str, int, bytes]]:
        """The bag's messages, each at its time; ends when the context is shut down."""
        begin_ns: int | None = None
        started = time.monotonic()
        for topic, time_ns, raw in self._bag.messages():
            if begin_ns is None:
                begin_ns, started = time_ns, time.monotonic()
            if not self._sleep_until_due(started, begin_ns, time_ns):
                return
            yield topic, time_ns, raw

    def _sleep_until_due(self, started: float, begin_ns: int, time_ns: int) -> bool:
        """Publish /clock until a message is due; False if the context is shut down."""
        while self._node.context.ok():
            if self._rate == 0:
                return True
            elapsed_s = (time.monotonic() - started) * self._rate
            left_s = ((time_ns - begin_ns) * 1e-9 - elapsed_s) / self._rate
            if left_s <= 0:
                return True
            self._tick(begin_ns + int(elapsed_s * 1e9))
            time.sleep(min(left_s, _TICK_S))
        return False

    def _tick(self, time_ns: int) -> None:
        if self._clock is not None and self._node.context.ok():
            self._clock.publish(Clock(clock=stamp_from_ns(time_ns)))

    def _wait_for_all_acknowledgements(self) -> None:
        for publisher in self._all_publishers().values():
            self._wait_for_acknowledgement(publisher)

    def _wait_for_acknowledgement(self, publisher: Any) -> None:
        """Wait until every reliable subscriber has received everything: exiting loses nothing."""
        deadline = time.monotonic() + _ACKNOWLEDGE_S
        # In slices: a dead subscriber acknowledges nothing, and a signal must end the wait.
        while self._node.context.ok() and publisher.get_subscription_count():
            done = publisher.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_SLICE_S))
            if done or time.monotonic() > deadline:
                return


def _below(prefix: str, topic: str) -> str:
    """A topic below a prefix, which may be empty."""
    return f"{prefix.rstrip('/')}/{topic.lstrip('/')}" if prefix else topic


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = program_parser(__doc__, _NAME)
    add = parser.add_argument
    add("bag", type=Path, help="a .bag or .mcap file, a ROS 2 bag, a KITTI drive")
    add("--topics", nargs="+", default=[], metavar="TOPIC", help="only these")
    add("--rate", type=float, default=1.0, help="2: twice as fast; 0: as fast as acknowledged")
    add("--loop", action="store_true", help="restart at the end")
    add("--clock", action="store_true", help="publish /clock")
    add("--prefix", default="", help="put before the name of every topic, /clock among them")
    add("--best-effort", action="store_true", help="publish like a driver")
    add("--max-images", type=int, metavar="N", help="stop after N images")
    add("--start-delay", type=float, default=0.0, metavar="S", help="seconds before the start")
    text = "start when N of the topics, /clock among them, have a subscriber"
    add("--wait-for-subscribers", type=int, default=0, metavar="N", help=text)
    add_wait_options(parser)
    options = parser.parse_args(arguments)
    if not 0 <= options.rate < float("inf"):
        parser.error(f"the rate is {options.rate}, expected a number from 0 up")
    if options.max_images is not None and options.max_images < 1:
        parser.error(f"--max-images is {options.max_images}, expected a number from 1 up")
    return options


def _run(options: argparse.Namespace, node: Node) -> None:
    logger = node.get_logger()
    bag = _open(options.bag, options.topics, logger.info)
    player = BagPlayer(node, bag, options.rate, options.clock, options.best_effort, options.prefix)
    player.wait_for_subscribers(options.wait_for_subscribers, options.wait_timeout)
    wait_for_nodes(node, options.wait_for, options.wait_timeout, logger.info)
    _sleep(node, options.start_delay)
    topics = ", ".join(f"{track.topic} ({track.count})" for track in bag.tracks)
    if node.context.ok():
        logger.info(f"playing {options.bag}: {topics}")
    started = time.monotonic()
    try:
        player.play(options.max_images, options.loop)
    finally:
        if not node.context.ok():  # a signal, at whatever point; rosout is closed by now
            print(f"{_NAME}: stopped after {player.progress()}", flush=True)
    if node.context.ok():
        seconds = time.monotonic() - started
        logger.info(f"the bag is over: played {player.published} messages in {seconds:.2f} s")


def _open(path: Path, topics: list[str], log: Callable[[str], object]) -> Playable:
    if path.is_dir() and is_kitti(path):
        return PlayableDrive(path, topics)
    return PlayableBag(path, topics, log)


def _sleep(node: Node, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while node.context.ok() and time.monotonic() < deadline:
        time.sleep(_TICK_S)


def main(args: list[str] | None = None) -> int:
    """Play a bag; 0 at its end or after a signal, 1 if it cannot be played."""
    arguments = sys.argv if args is None else [_NAME, *args]
    options = _parse(remove_ros_args(arguments)[1:])
    use_large_image_profile()
    return run(
        lambda: rclpy.create_node(_NAME), arguments, _NAME, lambda node: _run(options, node)
    )


if __name__ == "__main__":
    sys.exit(main())
