"""Profiles for Fast DDS: one transports large images, both give memory back; see their files."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

PROFILE = Path(__file__).with_name("fastdds_large_images.xml")
_MEMORY_PROFILE = PROFILE.with_name("fastdds_memory.xml")
_MALLOC_OPTION, _LARGE_BLOCK = -3, 1 << 22
"""M_MMAP_THRESHOLD of glibc, and 4 MiB: larger blocks go back to the system when freed."""

VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Up to Jazzy the first is read, since Kilted the second; other middlewares read neither."""


SHIPPED = dict.fromkeys(VARIABLES, str(PROFILE))
"""The variables that load the profile for large images."""


def large_image_profile() -> dict[str, str]:
    """The environment variables that load the profile; none if the user has chosen one."""
    if any(name in os.environ for name in VARIABLES):
        return {}
    return dict(SHIPPED)


def use_large_image_profile() -> None:
    """Load the profile in this process, unless the user has chosen one; before ``rclpy.init``."""
    os.environ.update(large_image_profile())


def give_memory_back() -> None:
    """Let this process shrink again after large messages; before ``rclpy.init``.

    Fast DDS does so by a profile, unless the user has chosen one. The C library would keep blocks
    of up to 32 MiB once it has seen one; where it is not glibc its own ways remain.
    """
    shipped = {str(PROFILE), str(_MEMORY_PROFILE)}
    if all(os.environ.get(name, str(PROFILE)) in shipped for name in VARIABLES):
        for name in VARIABLES:
            os.environ.setdefault(name, str(_MEMORY_PROFILE))
        os.environ.setdefault("RMW_FASTRTPS_USE_QOS_FROM_XML", "1")
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MALLOC_OPTION, _LARGE_BLOCK)
