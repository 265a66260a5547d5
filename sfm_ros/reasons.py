"""What each state and reason code of the node means, and what to do about it."""

from __future__ import annotations

from sfm_ros.datatypes import Reason, TrackingStatus

STATES: dict[TrackingStatus, str] = {
    TrackingStatus.IDLE: "told not to look at images: paused, inactive, or nobody subscribes",
    TrackingStatus.WAITING_FOR_CALIBRATION: "images arrive, a usable camera_info does not",
    TrackingStatus.INITIALIZING: "the first images: no motion yet",
    TrackingStatus.TRACKING: "all is well",
    TrackingStatus.DEGRADED: "motion is published, something about it is doubtful",
    TrackingStatus.LOST: "no motion can be told: the pose is held, odometry is not published",
}
"""What each state of the node means."""

MEANING: dict[Reason, tuple[str, str]] = {
    Reason.INACTIVE: (
        "the managed node has been deactivated",
        "activate it: ros2 lifecycle set /sfm_node activate",
    ),
    Reason.PAUSED: (
        "the node was told to pause",
        "call ~/set_paused with false to go on",
    ),
    Reason.NO_SUBSCRIBERS: (
        "nobody subscribes to an output, and node.idle_without_subscribers is set",
        "nothing, it goes on with the first subscriber",
    ),
    Reason.NO_IMAGES: (
        "no image has come, or none any more",
        "is the camera's driver running, on the topic the message names, with a quality of "
        "service that fits? sfm_doctor looks",
    ),
    Reason.BAD_IMAGE: (
        "an image cannot be decoded: cut short, of an unknown encoding, of a wrong step",
        "`last_trouble` names what was found; fix what publishes it, or install cv_bridge for "
        "rare encodings",
    ),
    Reason.NO_CALIBRATION: (
        "images arrive, but no calibration that can be used",
        "publish camera_info beside the images, or remap it; `last_trouble` says what is wrong",
    ),
    Reason.CALIBRATION_MISMATCH: (
        "the image has another size than its calibration; nothing is published",
        "publish the camera_info of the images as they are sent: what resizes or crops them "
        "must change it too",
    ),
    Reason.CALIBRATION_CHANGED: (
        "camera_info or the size of the images changed: a new segment begins",
        "look for two cameras on one topic; with a zoom lens it is expected",
    ),
    Reason.WINDOW_NOT_FULL: (
        "the first images after a start or a gap: motion needs several",
        "nothing, it passes after two images",
    ),
    Reason.NO_STAMP: (
        "the image's stamp is zero; it is not used",
        "set header.stamp in the driver",
    ),
    Reason.DUPLICATE_STAMP: (
        "an image with the stamp of the one before; it is ignored",
        "look for a relay that sends images twice, or a driver that stamps coarsely",
    ),
    Reason.OUT_OF_ORDER: (
        "a single image is a little older than the one before; it is not used",
        "look for a network that changes the order, or two publishers on the topic",
    ),
    Reason.TIME_REVERSED: (
        "an image older than the one before: the odometry begins anew",
        "expected when a bag loops; else look for two publishers on the image topic",
    ),
    Reason.GAP: (
        "no image for longer than window.max_gap_s: the pose was held, its covariance grew",
        "look for a driver that stalls or messages that are lost",
    ),
    Reason.NO_TEXTURE: (
        "the image shows nothing: black, white, covered, out of focus",
        "look at the lens and the exposure; health.min_contrast is the limit",
    ),
    Reason.IMAGE_NOISE: (
        "the image is noise: a loose cable, a gain turned up in the dark",
        "look at the image; health.min_structure is the limit",
    ),
    Reason.FROZEN_IMAGE: (
        "the image equals the one before, byte by byte: the camera hangs",
        "start its driver again; for a simulated camera without noise set health.reject_frozen "
        "to false",
    ),
    Reason.EXPOSURE_JUMP: (
        "the brightness jumped from an image to the next: a new segment begins",
        "fix the exposure or slow its control down; health.max_exposure_jump is the limit",
    ),
    Reason.ENGINE_FAILED: (
        "the inference engine failed, `last_trouble` says how; nothing is worked on any more",
        "start the node again; if it fails again, check the model with sfm_doctor",
    ),
    Reason.NON_FINITE_OUTPUT: (
        "a network gave NaN or infinity; nothing was integrated",
        "check the model with sfm_doctor; with another engine, compare it with model.engine onnx",
    ),
    Reason.IMPROPER_ROTATION: (
        "the motion network gave a matrix that is no rotation; nothing was integrated",
        "check the model with sfm_doctor",
    ),
    Reason.FLAT_DEPTH: (
        "the predicted depth is the same everywhere",
        "look at the image: covered, dark, blank or out of focus; else the model does not know "
        "such scenes",
    ),
    Reason.IMPLAUSIBLE_MOTION: (
        "faster than health.max_speed; nothing was integrated",
        "raise the limit if it is real; else check the stamps and the scale",
    ),
    Reason.IMPLAUSIBLE_ROTATION: (
        "turning faster than health.max_rotation_deg_per_s; nothing was integrated",
        "raise the limit if it is real; else check the stamps",
    ),
}


def advice_for(reasons: str) -> str:
    """What to do about the reason codes in a diagnostics message, separated by commas."""
    known = {reason.value: advice for reason, (_, advice) in MEANING.items()}
    parts = [known[name] for name in (r.strip() for r in reasons.split(",")) if name in known]
    return "; ".join(parts) or "see docs/troubleshooting.md"
