"""The meaning of each state and reason code of the node, and what to do about it."""

from __future__ import annotations

from sfm_ros.datatypes import Reason, TrackingStatus

STATES: dict[TrackingStatus, str] = {
    TrackingStatus.IDLE: "images are not processed: paused, inactive, or without subscribers",
    TrackingStatus.WAITING_FOR_CALIBRATION: "images arrive, a usable camera_info does not",
    TrackingStatus.INITIALIZING: "the first images: no motion yet",
    TrackingStatus.TRACKING: "motion is estimated without problems",
    TrackingStatus.DEGRADED: "motion is published, but something about it is doubtful",
    TrackingStatus.LOST: "no motion can be estimated: the pose is held, odometry is not published",
}
"""The meaning of each state of the node."""

MEANING: dict[Reason, tuple[str, str]] = {
    Reason.INACTIVE: (
        "the managed node has been deactivated",
        "activate it: ros2 lifecycle set /sfm_node activate",
    ),
    Reason.PAUSED: (
        "the node is paused",
        "call ~/set_paused with false to continue",
    ),
    Reason.NO_SUBSCRIBERS: (
        "no output has a subscriber, and node.idle_without_subscribers is set",
        "nothing: it continues with the first subscriber",
    ),
    Reason.NO_IMAGES: (
        "no image has arrived, or none any more",
        "is the camera's driver running, on the topic in the message, with a compatible quality "
        "of service? sfm_doctor checks",
    ),
    Reason.BAD_IMAGE: (
        "an image cannot be decoded: truncated, of an unknown encoding, of a wrong step",
        "`last_trouble` names the fault; fix the publisher, or install cv_bridge for rare "
        "encodings",
    ),
    Reason.NO_CALIBRATION: (
        "images arrive, but no usable calibration",
        "publish camera_info beside the images, or remap it; `last_trouble` names the fault",
    ),
    Reason.CALIBRATION_MISMATCH: (
        "the image has another size than its calibration; nothing is published",
        "publish the camera_info of the images as they are sent: a node that resizes or crops "
        "them must change it too",
    ),
    Reason.CALIBRATION_CHANGED: (
        "camera_info or the size of the images changed: a new segment starts",
        "look for two cameras on one topic; with a zoom lens it is expected",
    ),
    Reason.WINDOW_NOT_FULL: (
        "the first images after a start or a gap: motion needs several",
        "nothing: it passes with the next images",
    ),
    Reason.NO_STAMP: (
        "the image's stamp is zero; it is not used",
        "set header.stamp in the driver",
    ),
    Reason.DUPLICATE_STAMP: (
        "an image with the stamp of the previous one; it is ignored",
        "look for a relay that sends images twice, or a driver with coarse stamps",
    ),
    Reason.OUT_OF_ORDER: (
        "a single image is slightly older than the previous one; it is not used",
        "look for a network that changes the order, or two publishers on the topic",
    ),
    Reason.TIME_REVERSED: (
        "an image is older than the previous one: the odometry restarts",
        "expected when a bag loops; else look for two publishers on the image topic",
    ),
    Reason.GAP: (
        "no image for longer than window.max_gap_s: the pose was held, its covariance grew",
        "look for a driver that stalls or messages that are lost",
    ),
    Reason.NO_TEXTURE: (
        "the image shows nothing: black, white, covered, out of focus",
        "check the lens and the exposure; health.min_contrast is the limit",
    ),
    Reason.IMAGE_NOISE: (
        "the image is noise: a loose cable, a high gain in the dark",
        "check the image; health.min_structure is the limit",
    ),
    Reason.FROZEN_IMAGE: (
        "the image is byte-identical to the previous one: the camera hangs",
        "restart its driver; for a simulated camera without noise set health.reject_frozen to "
        "false",
    ),
    Reason.EXPOSURE_JUMP: (
        "the brightness jumped between two images: a new segment starts",
        "fix the exposure or slow its control down; health.max_exposure_jump is the limit",
    ),
    Reason.ENGINE_FAILED: (
        "the inference engine failed with the error in `last_trouble`; processing has stopped",
        "restart the node; if it fails again, check the model with sfm_doctor",
    ),
    Reason.NON_FINITE_OUTPUT: (
        "a network returned NaN or infinity; nothing was integrated",
        "check the model with sfm_doctor, or export it again",
    ),
    Reason.IMPROPER_ROTATION: (
        "the pose network returned a matrix that is not a rotation; nothing was integrated",
        "check the model with sfm_doctor",
    ),
    Reason.FLAT_DEPTH: (
        "the predicted depth is the same everywhere",
        "check the image: covered, dark, blank or out of focus; else the model was not trained "
        "for such scenes",
    ),
    Reason.LOW_LIGHT: (
        "the image is dark: few keypoints, much noise",
        "lengthen the exposure or raise the gain; health.min_brightness is the limit",
    ),
    Reason.OVEREXPOSED: (
        "a large part of the image is saturated: glare, low sun, the end of a tunnel",
        "shorten the exposure or shade the lens; health.max_overexposed is the limit",
    ),
    Reason.BLUR: (
        "the image is less sharp than the last ones: motion blur, vibration, rain on the lens",
        "clean the lens, shorten the exposure; health.min_sharpness is the limit",
    ),
    Reason.FEW_TRACKS: (
        "too few keypoints could be followed from the last image; nothing was integrated",
        "look for blank walls, blur, darkness or a low rate of images; tracker.min_inliers is the "
        "limit",
    ),
    Reason.FEW_INLIERS: (
        "too few keypoints agree with one motion; nothing was integrated",
        "check the calibration, and camera_info against the images; tracker.min_inliers is the "
        "limit",
    ),
    Reason.MOVING_OBJECTS: (
        "many keypoints contradict the motion: large vehicles or people that move",
        "nothing: it passes; if it does not, check the calibration",
    ),
    Reason.LOW_PARALLAX: (
        "the camera only turns, or moves too little: no translation was integrated",
        "nothing: it passes when the camera moves on",
    ),
    Reason.FRAMES_MISSING: (
        "the time between two images is longer than usual: images are lost",
        "look for a loaded machine, network or driver; the covariance of the motion is larger",
    ),
    Reason.MOTION_MISMATCH: (
        "the rotations of the pose network and of the keypoints differ; that of the keypoints is "
        "used",
        "nothing if it is rare; else check the calibration, or train the model on such a camera",
    ),
    Reason.DEPTH_MISMATCH: (
        "what several images measure contradicts all depth before: the length of the motion is "
        "doubtful, and depth is the network's",
        "nothing if it is rare; else check scale.camera_height or the vehicle's speed, and the "
        "calibration",
    ),
    Reason.SCALE_UNKNOWN: (
        "nothing defines the unit of length: the path has a shape, but lengths are not meters",
        "set scale.camera_height or scale.external, or use a model that was trained in meters",
    ),
    Reason.SCALE_UNCERTAIN: (
        "the standard deviation of lengths is above scale.max_sigma",
        "nothing while the camera starts or turns; else check that the road is visible, or "
        "connect the vehicle's speed",
    ),
    Reason.SCALE_STALE: (
        "nothing has corrected the scale for longer than scale.max_age_s",
        "check that the road is visible, or that the vehicle's speed arrives",
    ),
    Reason.IMPLAUSIBLE_MOTION: (
        "faster than health.max_speed; nothing was integrated",
        "raise the limit if the speed is real; else check the stamps and the scale",
    ),
    Reason.IMPLAUSIBLE_ROTATION: (
        "turning faster than health.max_rotation_deg_per_s; nothing was integrated",
        "raise the limit if the rotation is real; else check the stamps",
    ),
}


def advice_for(reasons: str) -> str:
    """What to do about the reason codes in a diagnostics message, separated by commas."""
    known = {reason.value: advice for reason, (_, advice) in MEANING.items()}
    parts = [known[name] for name in (r.strip() for r in reasons.split(",")) if name in known]
    return "; ".join(parts) or "see docs/troubleshooting.md"
