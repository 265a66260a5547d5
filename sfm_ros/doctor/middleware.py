"""Settings that decide whether two processes discover each other and a large image arrives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

from sfm_ros.doctor.finding import Finding, fail, ok, warn

_FAST_DDS = "rmw_fastrtps"
_HIGHEST_DOMAIN = 232
_HIGHEST_USUAL_DOMAIN = 101
DEFAULT_SEGMENT = 512 * 1024
"""Bytes of Fast DDS's own shared-memory segment."""
SEGMENT_CHECK = "shared memory"
_SHARED_MEMORY = Path("/dev/shm")


def check_environment(
    rmw: str, environment: Mapping[str, str], largest_message: int, shipped: Mapping[str, str]
) -> Iterator[Finding]:
    """Middleware, domain and shared memory of this process and of others in its environment.

    Args:
        rmw: the implementation in use, such as ``rmw_fastrtps_cpp``.
        environment: the variables of the process.
        largest_message: bytes of the largest image received; 0 if none was.
        shipped: the variables that load this package's Fast DDS profile.
    """
    yield ok("middleware", f"{rmw}, {environment.get('ROS_DISTRO', 'no sourced ROS')}")
    yield check_domain(environment)
    yield from _check_range(environment)
    if is_fast_dds(rmw):
        yield _check_profile(environment, largest_message, shipped)
    yield from _check_free_memory(largest_message)


def check_domain(environment: Mapping[str, str]) -> Finding:
    """Whether ROS_DOMAIN_ID is valid."""
    value = environment.get("ROS_DOMAIN_ID", "")
    check = "domain"
    if not value:
        return ok(check, "ROS_DOMAIN_ID is not set: domain 0")
    if not value.isdigit() or int(value) > _HIGHEST_DOMAIN:
        return fail(check, f"ROS_DOMAIN_ID is '{value}'", "expected a number from 0 to 101")
    if int(value) > _HIGHEST_USUAL_DOMAIN:
        advice = "Linux gives ports of this domain to other programs: use 0 to 101"
        return warn(check, f"ROS_DOMAIN_ID is {value}", advice)
    return ok(check, f"ROS_DOMAIN_ID is {value}: only processes with the same value connect")


def _check_range(environment: Mapping[str, str]) -> Iterator[Finding]:
    local = environment.get("ROS_LOCALHOST_ONLY", "0") == "1"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    if reach == "OFF":
        advice = "no process discovers another: unset it, or set LOCALHOST or SUBNET"
        yield fail("discovery", "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF", advice)
    elif local or reach == "LOCALHOST":
        yield ok("discovery", "this machine only: no camera on another one is discovered")


def is_fast_dds(rmw: str) -> bool:
    """Whether a middleware reads profiles of Fast DDS."""
    return rmw.startswith(_FAST_DDS)


def profile_advice(shipped: Mapping[str, str]) -> str:
    """Where to type what, so that large images are not lost.

    Args:
        shipped: the variables that load this package's Fast DDS profile.
    """
    settings = " ".join(f"{name}={path}" for name, path in shipped.items())
    return f"in the terminal of the camera's driver: export {settings}"


def _check_profile(
    environment: Mapping[str, str], largest: int, shipped: Mapping[str, str]
) -> Finding:
    check = SEGMENT_CHECK
    advice = profile_advice(shipped)
    chosen = [environment[name] for name in shipped if environment.get(name)]
    if not chosen:
        if 0 < largest <= DEFAULT_SEGMENT:
            return ok(check, f"images of {largest / 1e3:.0f} kB fit Fast DDS's own segment")
        loss = "the default segment of 512 kB loses larger best-effort images"
        return warn(check, f"no Fast DDS profile is set, and {loss}", advice)
    path = Path(chosen[0].removeprefix("file://"))
    try:
        segment = largest_segment(path)
    except (OSError, ElementTree.ParseError) as error:
        return fail(check, f"the profile {path} cannot be read: {error}", advice)
    if segment < max(largest, DEFAULT_SEGMENT + 1):
        found = f"the segment of {path} holds {segment} bytes, an image {largest}"
        return warn(check, found, advice)
    return ok(check, f"{path} gives a segment of {segment / 2**20:.0f} MiB")


def largest_segment(profile: Path) -> int:
    """Largest shared-memory segment in a Fast DDS profile, bytes; 0 if there is none.

    Raises:
        OSError, ElementTree.ParseError: it cannot be read.
    """
    tags = ElementTree.parse(profile).getroot().iter()
    sizes = [tag.text or "0" for tag in tags if tag.tag.rpartition("}")[2] == "segment_size"]
    return max((int(size) for size in sizes if size.strip().isdigit()), default=0)


def _check_free_memory(largest: int) -> Iterator[Finding]:
    """A full /dev/shm (64 MB in a container by default) drops images silently."""
    try:
        state = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return
    free = state.f_bavail * state.f_frsize
    if free < max(64 * 2**20, 8 * largest):
        yield warn(
            SEGMENT_CHECK,
            f"{_SHARED_MEMORY} has {free / 2**20:.0f} MiB left",
            "in a container: --shm-size 512m or --ipc host; else remove what crashed programs "
            "left there (fastdds shm clean)",
        )
