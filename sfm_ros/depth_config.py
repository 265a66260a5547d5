"""Where the published depth comes from: a part of ``sfm_ros.config``."""

from __future__ import annotations

from dataclasses import dataclass

from sfm_ros.options import live_option, option

DEPTH_MODES = ("auto", "multiview", "network")


@dataclass(frozen=True, kw_only=True)
class DepthConfig:
    """Where the published depth comes from."""

    mode: str = option(
        "auto",
        "network: as the network predicts it from the newest image; multiview: corrected by what "
        "is measured between the newest image and the ones before, with a standard deviation per "
        "pixel; auto: multiview, unless images can be dropped (node.image_queue newest) and the "
        "first ones show that a step then takes too long.",
        choices=DEPTH_MODES,
    )
    max_uncertainty: float = live_option(
        0.0,
        "Pixels whose relative standard deviation is larger are left out of ~/points and "
        "~/depth/image_color; 0 keeps all. ~/depth/image always has all.",
        minimum=0.0,
        maximum=1e6,
    )
