"""All checks of a camera, of a bag and of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sfm_ros.config import SfmConfig
from sfm_ros.doctor.bag import check_content, read_bag
from sfm_ros.doctor.camera import check_calibration, check_image
from sfm_ros.doctor.finding import Finding, fail, warn
from sfm_ros.doctor.frames import check_extrinsics, check_tree
from sfm_ros.doctor.gpu import check_gpu
from sfm_ros.doctor.model import check_engine, check_model
from sfm_ros.doctor.observed import Camera, Edge
from sfm_ros.doctor.qos import check_static
from sfm_ros.doctor.stamps import check_age, check_pairing, check_stamps
from sfm_ros.model_spec import ModelSpec


def examine_bag(
    path: Path,
    config: SfmConfig,
    image_topic: str | None = None,
    load_engine: bool = True,
    on_message: Callable[[], object] = lambda: None,
) -> list[Finding]:
    """Every finding about a bag and the model that will process it.

    Args:
        path, image_topic, on_message: see `read_bag`.
        config: of the node.
        load_engine: run the networks once.

    Raises:
        SourceError: it is not a bag, or damaged at the start.
    """
    content = read_bag(path, image_topic, on_message)
    model_findings, spec = examine_model(config, load_engine)
    findings = [*check_content(content), *check_static(content.endpoints)]
    for camera in content.cameras:
        findings += examine_camera(camera, content.edges, config, spec, "the time of recording")
    if content.cameras:
        findings += check_tree(content.edges)
    return [*findings, *model_findings]


def examine_model(
    config: SfmConfig, load_engine: bool = True
) -> tuple[list[Finding], ModelSpec | None]:
    """Every finding about the model bundle, and its specification if it is complete."""
    findings, spec = check_model(config.model)
    if spec is not None and load_engine:
        findings += check_engine(config.model)
        findings += check_gpu(config.model, spec)
    return findings, spec


def examine_camera(
    camera: Camera,
    edges: list[Edge],
    config: SfmConfig,
    spec: ModelSpec | None,
    clock: str,
    cause: Finding | None = None,
) -> Iterator[Finding]:
    """Every finding about one camera.

    Args:
        camera: its messages.
        edges: the received transforms.
        config: of the node.
        spec: of the model, if known.
        clock: name of the clock of the samples' ``arrived_ns``.
        cause: a finding that explains why its images are lost, if there is one.
    """
    count = len(camera.images.samples)
    topic = camera.images.topic
    if count == 0:
        advice = (
            "is the camera's driver running, and on this topic? See 'no messages' in "
            "docs/troubleshooting.md"
        )
        yield fail(f"image {topic}", "nothing arrived", advice)
        return
    found, size = check_image(camera)
    yield from found
    if count == 1:
        yield warn(f"stamps {topic}", "one image arrived", "motion needs several")
    yield from check_stamps(camera.images, config.window.max_gap_s, camera.infos, cause)
    yield from check_age(camera.images, clock)
    yield from check_calibration(camera, size, spec, config.preprocess.input)
    if camera.infos is not None and camera.infos.samples:
        yield from check_pairing(camera.images, camera.infos)
    for frame_id in sorted(camera.images.frame_ids):
        yield from check_extrinsics(edges, config.node.base_frame, frame_id)
