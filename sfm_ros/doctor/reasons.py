"""What each reason code of the node means, and what to do about it."""

from __future__ import annotations

from sfm_ros.datatypes import Reason

MEANING: dict[Reason, tuple[str, str]] = {
    Reason.NO_CALIBRATION: (
        "pictures arrive, but no calibration that can be used",
        "publish camera_info beside the images, or remap it; `last_trouble` says what is wrong",
    ),
    Reason.WINDOW_NOT_FULL: (
        "the first pictures after a start or a gap: motion needs several",
        "nothing, it passes after two pictures",
    ),
    Reason.DUPLICATE_STAMP: (
        "a picture with the stamp of the one before; it is ignored",
        "look for a relay that sends pictures twice, or a driver that stamps coarsely",
    ),
    Reason.TIME_REVERSED: (
        "a picture older than the one before: the odometry begins anew",
        "expected when a bag loops; else look for two publishers on the image topic",
    ),
    Reason.GAP: (
        "no picture for longer than window.max_gap_s: the pose was held, its covariance grew",
        "look for a driver that stalls or messages that are lost",
    ),
    Reason.CALIBRATION_CHANGED: (
        "camera_info or the size of the pictures changed: a new segment begins",
        "look for two cameras on one topic; with a zoom lens it is expected",
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
        "look at the picture: covered, dark, blank or out of focus; else the model does not know "
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
