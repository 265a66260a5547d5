"""All checks of a camera, in the order in which a person would look."""

from __future__ import annotations

from sfm_ros.config import SfmConfig
from sfm_ros.doctor.camera import check_calibration, check_image
from sfm_ros.doctor.finding import Finding, fail, warn
from sfm_ros.doctor.frames import check_extrinsics
from sfm_ros.doctor.observed import Camera, Edge
from sfm_ros.doctor.stamps import check_age, check_pairing, check_stamps
from sfm_ros.model_spec import ModelSpec


def examine_camera(
    camera: Camera,
    edges: list[Edge],
    config: SfmConfig,
    spec: ModelSpec | None,
    clock: str,
) -> list[Finding]:
    """Every finding about one camera.

    Args:
        camera: what was seen of it.
        edges: transforms that were seen.
        config: of the node it is for.
        spec: its model, where it is known.
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
    image, size = check_image(camera)
    found = [*image]
    if count == 1:
        found.append(
            warn(f"stamps {camera.images.topic}", "one image came", "motion needs several")
        )
    found += check_stamps(camera.images, config.window.max_gap_s)
    found += check_age(camera.images, clock)
    found += check_calibration(camera, size, spec)
    if camera.infos is not None and camera.infos.samples:
        found += check_pairing(camera.images, camera.infos)
    for frame_id in sorted(camera.images.frame_ids):
        found += check_extrinsics(edges, config.node.base_frame, frame_id)
    return found
