"""The cameras, transforms and qualities of service in a bag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.bags.camera import CAMERA_INFO, IMAGE_TYPES, camera_info_beside, is_depth
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import TF_TYPES
from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Camera, Edge, Endpoint, Sample, Stream
from sfm_ros.formats.camera_info import calibration_key
from sfm_ros.formats.serialized import header_stamp, stamp_of_serialized
from sfm_ros.geometry import rigid_motion

_VERSIONS_KEPT = 4


@dataclass(kw_only=True, slots=True)
class BagContent:
    """The content of a bag.

    Attributes:
        cameras: image topics, each with its calibration.
        edges: transforms; the newest value of a moving one.
        endpoints: recorded topics as publishers, with the quality of service they offered.
        topics: topic -> (type, number of messages that are listed).
        remarks: what was unusual about the bag, or could not be read, a sentence each.
    """

    cameras: list[Camera]
    edges: list[Edge]
    endpoints: list[Endpoint]
    topics: dict[str, tuple[str, int]]
    remarks: tuple[str, ...] = ()


def read_bag(
    path: Path,
    image_topic: str | None = None,
    on_message: Callable[[], object] = lambda: None,
) -> BagContent:
    """Read a bag once from start to end.

    Args:
        path: any bag `BagFile` opens.
        image_topic: only this camera, with or without the leading slash; default: every one.
        on_message: called after each message.

    Raises:
        SourceError: it is not a bag, or damaged at the start.
    """
    bag = BagFile(path)
    reading = _Reading(bag, image_topic)
    for connection, log_ns, data in bag.serialized(reading.topics):
        reading.add(connection, log_ns, data)
        on_message()
    return BagContent(
        cameras=list(reading.cameras.values()),
        edges=list(reading.edges.values()),
        endpoints=_endpoints(bag),
        topics=dict(bag.all_topics),
        remarks=bag.remarks,
    )


def count_messages(path: Path, image_topic: str | None = None) -> int:
    """Number of messages that `read_bag` will read."""
    bag = BagFile(path)
    return sum(bag.all_topics[topic][1] for topic in _Reading(bag, image_topic).topics)


class _Reading:
    """Collects cameras and transforms from the messages of a bag."""

    def __init__(self, bag: BagFile, image_topic: str | None) -> None:
        self._bag = bag
        self.cameras: dict[str, Camera] = {}
        self.edges: dict[tuple[str, str, bool], Edge] = {}
        requested = image_topic and bag.named(image_topic)
        for topic, (kind, _) in sorted(bag.all_topics.items()):
            is_camera = topic == requested if image_topic is not None else not is_depth(topic)
            if kind in IMAGE_TYPES and is_camera:
                images = Stream(topic=topic, type_name=kind)
                info_topic = bag.named(camera_info_beside(topic))
                self.cameras[topic] = Camera(images=images, info_topic=info_topic)
        self._infos: dict[str, list[Camera]] = {}
        for camera in self.cameras.values():
            kind = bag.all_topics.get(camera.info_topic, ("", 0))[0]
            if kind == CAMERA_INFO:
                camera.infos = Stream(topic=camera.info_topic, type_name=kind)
                self._infos.setdefault(camera.info_topic, []).append(camera)
        transforms = [t for t, (kind, _) in bag.all_topics.items() if kind in TF_TYPES]
        self.topics = [*self.cameras, *self._infos, *transforms]

    def add(self, connection: Any, log_ns: int, data: bytes) -> None:
        def decode() -> Any:
            return self._bag.decode(connection, data)

        if connection.topic in self.cameras:
            stamp_ns = stamp_of_serialized(data, self._bag.is_ros1)
            sample = Sample(stamp_ns=stamp_ns, arrived_ns=log_ns)
            add_image(self.cameras[connection.topic], sample, len(data), decode)
        elif connection.topic in self._infos:
            message = decode()
            for camera in self._infos[connection.topic]:
                add_info(camera, message, log_ns)
        else:
            is_static = connection.topic.endswith("tf_static")
            self.edges.update(edges_of(decode(), is_static))


def add_image(camera: Camera, sample: Sample, size: int, decode: Callable[[], Any]) -> None:
    """Add an image of this camera, of so many bytes; only the first one is decoded."""
    images = camera.images
    images.samples.append(sample)
    images.payload = max(images.payload, size)
    if camera.image is None:
        camera.image = decode()
        images.frame_ids.add(camera.image.header.frame_id)


def add_info(camera: Camera, message: Any, arrived_ns: int) -> None:
    """Add a CameraInfo of this camera, from a bag or the middleware."""
    assert camera.infos is not None
    camera.infos.samples.append(Sample(stamp_ns=header_stamp(message), arrived_ns=arrived_ns))
    camera.infos.frame_ids.add(message.header.frame_id)
    known = [calibration_key(info) for info in camera.calibrations]
    if calibration_key(message) not in known and len(known) < _VERSIONS_KEPT:
        camera.calibrations.append(message)


def edges_of(message: Any, is_static: bool) -> dict[tuple[str, str, bool], Edge]:
    """(parent, child, static) -> transform of a TFMessage; NaN if it is not rigid."""
    edges = {}
    for entry in message.transforms:
        q, t = entry.transform.rotation, entry.transform.translation
        T = rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])
        edge = Edge(
            parent=entry.header.frame_id,
            child=entry.child_frame_id,
            is_static=is_static,
            T_parent_child=np.full((4, 4), np.nan) if T is None else T,
        )
        edges[edge.parent, edge.child, is_static] = edge
    return edges


def _endpoints(bag: BagFile) -> list[Endpoint]:
    return [
        Endpoint.of("the recorded publisher", connection.topic, connection.msgtype, True, qos)
        for connection in bag.connections
        for qos in getattr(connection.ext, "offered_qos_profiles", None) or []
    ]


def check_content(content: BagContent) -> list[Finding]:
    """Whether the bag has messages and a camera."""
    if not any(count for _, count in content.topics.values()):
        return [fail("bag", "it is empty", "record again; was the recorder stopped with Ctrl-C?")]
    if not content.cameras:
        kinds = ", ".join(f"{name} ({kind})" for name, (kind, _) in sorted(content.topics.items()))
        return [fail("topics", f"no image topic; there are {kinds}", "record the camera's images")]
    names = ", ".join(sorted(content.topics))
    findings = [ok("topics", f"{len(content.topics)}: {names}")]
    findings += [ok("bag", remark) for remark in content.remarks]
    for camera in content.cameras:
        topic, found = camera.images.topic, len(camera.images.samples)
        listed = content.topics[topic][1]
        if found < listed:
            findings.append(
                warn(
                    f"image {topic}",
                    f"{listed - found} of {listed} images are listed and cannot be found",
                    "the others are used; the file is damaged or incomplete, record again if they "
                    "matter",
                )
            )
    return findings
