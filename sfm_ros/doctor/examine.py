"""All checks of a camera, of a bag and of the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sfm_ros.config import SfmConfig
from sfm_ros.doctor.bag import check_content, read_bag
from sfm_ros.doctor.camera import check_calibration, check_image
from sfm_ros.doctor.finding import Finding, fail, warn
from sfm_ros.doctor.frames import check_extrinsics, check_tree
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
    return findings, spec


def examine_camera(
    camera: Camera,
    edges: list[Edge],
    config: SfmConfig,
    spec: ModelSpec | None,
    clock: str,
) -> list[Finding]:
    """Every finding about one camera.

    Args:
        camera: its messages.
        edges: the received transforms.
        config: of the node.
        spec: of the model, if known.
        clock: name of the clock of the samples' ``arrived_ns``.
    """
    count = len(camera.images.samples)
    if count == 0:
        return [
            fail(
                f"image {camera.images.topic}",
                "nothing arrived",
                "is the camera's driver running, and on this topic? See 'no messages' in "
                "docs/troubleshooting.md",
            )
        ]
    found, size = check_image(camera)
    if count == 1:
        found.append(
            warn(f"stamps {camera.images.topic}", "one image arrived", "motion needs several")
        )
    found += check_stamps(camera.images, config.window.max_gap_s)
    found += check_age(camera.images, clock)
    found += check_calibration(camera, size, spec)
    if camera.infos is not None and camera.infos.samples:
        found += check_pairing(camera.images, camera.infos)
    for frame_id in sorted(camera.images.frame_ids):
        found += check_extrinsics(edges, config.node.base_frame, frame_id)
    return found
