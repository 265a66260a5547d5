"""The Fast DDS profile that transports large images, see ``fastdds_large_images.xml``."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).with_name("fastdds_large_images.xml")

VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Up to Jazzy the first is read, since Kilted the second; other middlewares read neither."""


def large_image_profile() -> dict[str, str]:
    """The environment variables that load the profile; none if the user has chosen one."""
    if any(name in os.environ for name in VARIABLES):
        return {}
    return dict.fromkeys(VARIABLES, str(PROFILE))


def use_large_image_profile() -> None:
    """Load the profile in this process, unless the user has chosen one; before ``rclpy.init``."""
    os.environ.update(large_image_profile())
