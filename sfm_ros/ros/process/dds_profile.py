"""The Fast DDS profile that transports large images, see ``fastdds_large_images.xml``."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = Path(__file__).with_name("fastdds_large_images.xml")

VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Up to Jazzy the first is read, since Kilted the second; other middlewares read neither."""


def use_large_image_profile() -> None:
    """Load the profile in this process, unless the user has set one; before ``rclpy.init``."""
    if not any(name in os.environ for name in VARIABLES):
        os.environ.update(dict.fromkeys(VARIABLES, str(PROFILE)))
