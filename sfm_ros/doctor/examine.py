"""All checks of a camera, in the order in which a person would look."""

from __future__ import annotations

from sfm_ros.config import SfmConfig
from sfm_ros.doctor.camera import judge_calibration, judge_picture
from sfm_ros.doctor.finding import Finding, fail, warn
from sfm_ros.doctor.frames import judge_mounting
from sfm_ros.doctor.observed import Camera, Edge
from sfm_ros.doctor.stamps import judge_age, judge_pairing, judge_stamps
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
    picture, size = judge_picture(camera)
    found = [*picture]
    if count == 1:
        found.append(
            warn(f"stamps {camera.images.topic}", "one picture came", "motion needs several")
        )
    found += judge_stamps(camera.images, config.window.max_gap_s)
    found += judge_age(camera.images, clock)
    found += judge_calibration(camera, size, spec)
    if camera.infos is not None and camera.infos.samples:
        found += judge_pairing(camera.images, camera.infos)
    for frame_id in sorted(camera.images.frame_ids):
        found += judge_mounting(edges, config.node.base_frame, frame_id)
    return found
