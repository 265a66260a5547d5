"""What decides whether two processes find each other and a large image arrives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from sfm_ros.doctor.finding import Finding, fail, ok, warn

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_FAST_DDS = "rmw_fastrtps"
_HIGHEST_DOMAIN = 232
_HIGHEST_USUAL_DOMAIN = 101
_DEFAULT_SEGMENT = 512 * 1024
_SHARED_MEMORY = Path("/dev/shm")


def check_environment(
    rmw: str, environment: Mapping[str, str], largest_message: int, shipped_profile: Path
) -> list[Finding]:
    """Middleware, domain and shared memory of this process, and so of what is started beside it.

    Args:
        rmw: the implementation in use, such as ``rmw_fastrtps_cpp``.
        environment: the variables of the process.
        largest_message: bytes of the largest image seen; 0 where none was.
        shipped_profile: the profile this package brings.
    """
    return [
        ok("middleware", f"{rmw}, {environment.get('ROS_DISTRO', 'no sourced ROS')}"),
        check_domain(environment),
        *_range(environment),
        *(
            [_profile(environment, largest_message, shipped_profile)]
            if rmw.startswith(_FAST_DDS)
            else []
        ),
        *_room(largest_message),
    ]


def check_domain(environment: Mapping[str, str]) -> Finding:
    """Whether ROS_DOMAIN_ID is one."""
    value = environment.get("ROS_DOMAIN_ID", "")
    check = "domain"
    if not value:
        return ok(check, "ROS_DOMAIN_ID is not set: domain 0")
    if not value.isdigit() or int(value) > _HIGHEST_DOMAIN:
        return fail(check, f"ROS_DOMAIN_ID is '{value}'", "expected a number from 0 to 101")
    if int(value) > _HIGHEST_USUAL_DOMAIN:
        return warn(
            check,
            f"ROS_DOMAIN_ID is {value}",
            "its ports are among those Linux hands out to other programs: use 0 to 101",
        )
    return ok(check, f"ROS_DOMAIN_ID is {value}: only processes with the same value are seen")


def _range(environment: Mapping[str, str]) -> list[Finding]:
    local = environment.get("ROS_LOCALHOST_ONLY", "0") == "1"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    if reach == "OFF":
        return [
            fail(
                "discovery",
                "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF",
                "nothing finds anything: unset it, or set LOCALHOST or SUBNET",
            )
        ]
    if local or reach == "LOCALHOST":
        return [ok("discovery", "this machine only: a camera on another one is not seen")]
    return []


def _profile(environment: Mapping[str, str], largest: int, shipped: Path) -> Finding:
    check = "shared memory"
    advice = (
        f"in the terminal of the camera's driver: export {PROFILE_VARIABLES[0]}={shipped} "
        f"{PROFILE_VARIABLES[1]}={shipped}"
    )
    named = [environment[name] for name in PROFILE_VARIABLES if environment.get(name)]
    if not named:
        if 0 < largest <= _DEFAULT_SEGMENT:
            return ok(check, f"images of {largest / 1e3:.0f} kB fit Fast DDS's own segment")
        return warn(
            check,
            "no Fast DDS profile is set here, and its segment of 512 kB loses larger best-effort "
            "images",
            advice,
        )
    path = Path(named[0].removeprefix("file://"))
    try:
        segment = largest_segment(path)
    except (OSError, ElementTree.ParseError) as error:
        return fail(check, f"the profile {path} cannot be read: {error}", advice)
    if segment < max(largest, _DEFAULT_SEGMENT + 1):
        return warn(
            check, f"the segment of {path} holds {segment} bytes, an image {largest}", advice
        )
    return ok(check, f"{path} gives a segment of {segment / 2**20:.0f} MiB")


def largest_segment(profile: Path) -> int:
    """Largest shared-memory segment a Fast DDS profile asks for, bytes; 0 where it names none.

    Raises:
        OSError, ElementTree.ParseError: it cannot be read.
    """
    tags = ElementTree.parse(profile).getroot().iter()
    sizes = [tag.text or "0" for tag in tags if tag.tag.rpartition("}")[2] == "segment_size"]
    return max((int(size) for size in sizes if size.strip().isdigit()), default=0)


def _room(largest: int) -> list[Finding]:
    """A full /dev/shm (64 MB in a container by default) turns images away silently."""
    try:
        state = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return []
    free = state.f_bavail * state.f_frsize
    needed = max(64 * 2**20, 8 * largest)
    if free >= needed:
        return []
    return [
        warn(
            "shared memory",
            f"{_SHARED_MEMORY} has {free / 2**20:.0f} MiB left",
            "in a container: --shm-size 512m or --ipc host; else remove what crashed programs "
            "left there (fastdds shm clean)",
        )
    ]
