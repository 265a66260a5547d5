"""What is learned, part of the configuration of `training.config`: networks and objective."""

from __future__ import annotations

from dataclasses import dataclass

from sfm_ros.options import option


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Architecture of the networks and scaling of their outputs."""

    depth: str = option(
        "dispnet",
        "Depth network: dispnet (SfMLearner's), vgg16 or vgg12 (DispNet rewritten, at its size "
        "and one level shorter), resnet18, resnet50, or lite (EfficientNet-Lite0).",
        choices=("dispnet", "vgg16", "vgg12", "resnet18", "resnet50", "lite"),
    )
    pretrained: bool = option(True, "Start the lite encoder from ImageNet weights.")
    encoder_weights: str = option(
        "", "ImageNet weights of a ResNet, a state dict in torchvision's format; empty: none."
    )
    pose: str = option(
        "auto",
        "Pose network: stacked (SfMLearner's: all frames at once), pair (each pair of neighbors, "
        "forward and backward), features (a head on the encoder's features of the frames), none, "
        "or auto: pair with lite, else stacked.",
        choices=("auto", "stacked", "pair", "features", "none"),
    )
    scales: int = option(4, "Number of disparity scales.", minimum=1, maximum=6)
    sequence_length: int = option(
        3, "Frames in a window; 1 without a pose network.", minimum=1, maximum=9
    )
    frozen: str = option(
        "none",
        "What keeps its weights: none, stem (the first layers of a pretrained encoder, whose "
        "filters fit any image) or depth (the whole depth network, while the motion is learned).",
        choices=("none", "stem", "depth"),
    )
    explainability_mask: bool = option(False, "Predict the explainability mask (Zhou et al.).")
    disparity_alpha: float = option(
        10.0,
        "Depth = depth_unit / (alpha * sigmoid(x) + beta) (Zhou et al., section 3.5).",
        minimum=1e-6,
    )
    disparity_beta: float = option(0.01, "See disparity_alpha.", minimum=1e-6)
    disparity_bias: float = option(
        -1.5, "Initial bias before the sigmoid; 0 saturates at startup, see the recipes."
    )
    depth_unit: float = option(
        1.0,
        "Length of one network unit; 10 fits the depth range of a street under metric "
        "supervision.",
        minimum=1e-6,
        maximum=1e6,
    )
    translation_factor: float = option(0.1, "Scales the translation output of the pose network.")
    rotation_factor: float = option(0.01, "Scales the rotation output of the pose network.")
    learned_intrinsics: str = option(
        "off",
        "off (use the calibration), shared (learn one camera for the run) or per_window (predict "
        "a camera from every window).",
        choices=("off", "shared", "per_window"),
    )
    initial_focal: float = option(
        0.65,
        "Initial focal length of learned intrinsics, divided by the width; 0.65 is 75 degrees.",
        minimum=0.1,
        maximum=10.0,
    )
    canonical_focal: float = option(
        0.0,
        "Focal length, divided by the width, of the camera whose lengths the networks predict; "
        "those of another camera are stretched along its axis, so that lenses can be mixed and "
        "scale_crop be large. 0: whatever the lens.",
        minimum=0.0,
        maximum=10.0,
    )
    canonical_height: float = option(
        0.0,
        "Height above the road, meters, of the camera whose lengths the networks predict; those "
        "of another one are in proportion to its height, which an image does not show. "
        "0: whatever the height.",
        minimum=0.0,
        maximum=100.0,
    )


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; a weight of zero disables a term."""

    l1_weight: float = option(1.0, "L1 in the photometric term.", minimum=0.0)
    ssim_weight: float = option(
        0.0, "(1 - SSIM) / 2 in the photometric term (0.85 with 0.15 L1).", minimum=0.0
    )
    minimum_reprojection: bool = option(
        False, "Per pixel, count only the source with the smallest error (Godard et al. 2019)."
    )
    auto_mask: bool = option(
        False, "Ignore pixels that an unmoved source explains at least as well."
    )
    full_resolution: bool = option(
        False,
        "Upsample every scale to full size before warping (Godard et al. 2019), against texture "
        "copies and holes in the small scales; each scale then costs as much as the finest.",
    )
    smoothness: str = option(
        "second_order",
        "second_order (Zhou et al.) or edge_aware (on mean-normalized values).",
        choices=("second_order", "edge_aware"),
    )
    smoothness_of: str = option(
        "disparity",
        "disparity (Zhou et al.'s published code) or depth (the text of the paper).",
        choices=("disparity", "depth"),
    )
    smoothness_weight: float = option(0.5, "Smoothness of the finest scale.", minimum=0.0)
    smoothness_scale_divisor: float = option(2.0, "Divisor per coarser scale.", minimum=1.0)
    mask_weight: float = option(0.0, "Explainability mask: cross-entropy to 1.", minimum=0.0)
    consistency_weight: float = option(
        0.0,
        "Inconsistency of the depths of target and sources, warped onto each other (Bian et al. "
        "2019); gives a sequence one scale.",
        minimum=0.0,
    )
    consistency_mask: bool = option(
        False,
        "Weight the photometric error by the consistency of the two depths (moving objects, "
        "occlusion).",
    )
    velocity_weight: float = option(
        0.0,
        "| predicted - known distance | if a speed or a pose is known (Guizilini et al. 2020).",
        minimum=0.0,
    )
    depth_supervision_weight: float = option(
        0.0, "Scale-aware log-depth error if ground truth is known (rendered data).", minimum=0.0
    )
    sky_depth: float = option(
        0.0,
        "Meters: with depth supervision, pixels without depth in a ground-truth depth map are "
        "sky and must be farther than this (rendered streets); 0: they are unknown (lidar).",
        minimum=0.0,
    )
    pose_supervision_weight: float = option(
        0.0,
        "Motion error if the motion is known: rendered streets, sequences prepared with poses. "
        "The poses may be the odometry's own, refined by geometry, to distill into the pose "
        "network.",
        minimum=0.0,
    )
    matching_weight: float = option(
        0.0,
        "Where the features of the target should have been found in its neighbors, if depth and "
        "motion are known; for network.pose features.",
        minimum=0.0,
    )
    teacher_weight: float = option(
        0.0,
        "Robust error against semi-dense depth, of geometry or rendered: half by the logarithm, "
        "half relative (abs_rel), so that in doubt what is near counts more; what is far "
        "only has to be far, what is unknown is not taught.",
        minimum=0.0,
    )
    known_motion: bool = option(
        False, "Warp by the poses of the sets; windows without poses are left out."
    )
