"""Rates and stamps of a stream: zero, backwards, repeated, missing, uneven, old."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Stream

_SLOW_HZ = 5.0
_MISSING_PERIODS = 1.5
_MISSING_RATIO, _MISSING_MUCH = 0.02, 0.2
"""Of the frames: above the first a warning, above the second a failure."""
_JITTER_RATIO = 0.25
_OLD_S = 1.0
_FUTURE_S = 0.05
_OTHER_CLOCK_S = 60.0
_UNITS = {"years": 365.25 * 86400, "days": 86400.0, "hours": 3600.0, "minutes": 60.0}

_Stamps = npt.NDArray[np.int64]


def check_stamps(
    stream: Stream,
    max_gap_s: float,
    infos: Stream | None = None,
    cause: Finding | None = None,
) -> Iterator[Finding]:
    """Order and regularity of the stamps of a stream.

    Args:
        stream: its messages.
        max_gap_s: ``window.max_gap_s`` of the node: a longer step is a gap.
        infos: the calibrations of its images, which are small and seldom lost.
        cause: a finding that explains why images are lost, if there is one.
    """
    check = f"stamps {stream.topic}"
    stamps = np.array([sample.stamp_ns for sample in stream.samples], dtype=np.int64)
    if len(stamps) < 2:
        return  # examine_camera reports it
    # A recording may count its time from zero: then the next stamp is slightly above zero.
    continues = np.append((stamps[1:] > 0) & (stamps[1:] < max_gap_s * 1e9), False)
    zeros = int(np.count_nonzero((stamps == 0) & ~continues))
    if zeros:
        yield fail(
            check,
            f"{zeros} of {len(stamps)} stamps are zero",
            "set header.stamp to the time of exposure in the driver; the node cannot order "
            "images without it (of a bag, sfm_evaluate and the demo take the times of recording)",
        )
        return
    missing = max(_missing_by_steps(stamps, max_gap_s), _missing_by_infos(stamps, infos))
    found = [
        *_check_order(check, stamps),
        *_check_missing(check, missing, cause),
        *_check_regularity(check, stamps, max_gap_s, missing),
    ]
    rate_hz = 1e9 / float(np.median(np.diff(stamps)))
    yield from found or [ok(check, f"{len(stamps)} in order, {rate_hz:.1f} Hz")]


def _check_order(check: str, stamps: _Stamps) -> Iterator[Finding]:
    steps = np.diff(stamps)
    backwards = steps[steps < 0]
    if len(backwards):
        yield fail(
            check,
            f"the stamps go back {len(backwards)} times, by up to {-backwards.min() * 1e-9:.3f} s",
            "the odometry restarts each time: look for two publishers on the topic, a bag that "
            "loops, or a driver that mixes two clocks",
        )
    repeated = int(np.count_nonzero(steps == 0))
    if repeated:
        yield warn(
            check,
            f"{repeated} of {len(stamps)} stamps repeat the previous one",
            "a duplicate is ignored: look for a relay that sends each image twice",
        )


def _steps_s(stamps: _Stamps) -> npt.NDArray[np.float64]:
    """Steps between stamps forward in time, seconds."""
    steps = np.diff(stamps)
    return np.asarray(steps[steps > 0] * 1e-9, dtype=np.float64)


def _check_regularity(
    check: str, stamps: _Stamps, max_gap_s: float, missing: float
) -> Iterator[Finding]:
    steps = _steps_s(stamps)
    if len(steps) < 2:
        return
    period = float(np.median(steps))
    gaps = steps[steps > max_gap_s]
    if period > 1 / _SLOW_HZ:
        yield warn(
            check,
            f"{1 / period:.1f} images per second",
            f"motion between two images needs at least {_SLOW_HZ:g}, better 10 or more",
        )
    elif len(gaps):
        yield warn(
            check,
            f"{len(gaps)} gaps of more than {max_gap_s:g} s, the longest {gaps.max():.2f} s",
            "the pose is held across a gap: look for a driver that stalls, a full disk while the "
            "bag was recorded, or lost messages (see 'messages are lost' in "
            "docs/troubleshooting.md)",
        )
    jitter = float(np.percentile(np.abs(steps - period), 90)) / period
    if jitter > _JITTER_RATIO and missing <= _MISSING_RATIO:
        yield warn(
            check,
            f"uneven: one step in ten is {100 * jitter:.0f} % off the period of "
            f"{1000 * period:.0f} ms",
            "stamp the exposure in the driver, not the arrival; speeds are wrong by as much",
        )


def _missing_by_steps(stamps: _Stamps, max_gap_s: float) -> float:
    """Fraction of the frames that are missing, from steps of several periods; not in gaps."""
    steps = _steps_s(stamps)
    if len(steps) < 2:
        return 0.0
    period = float(np.median(steps))
    long = steps[(steps > _MISSING_PERIODS * period) & (steps <= max_gap_s)]
    missing = float(np.maximum(np.rint(long / period) - 1, 0).sum())
    return missing / (missing + len(steps))


def _missing_by_infos(stamps: _Stamps, infos: Stream | None) -> float:
    """Fraction of the calibrations with a stamp between the images' that have no image.

    With every second image lost, the steps alone look regular. Calibrations with stamps of their
    own reveal nothing of the images.
    """
    if infos is None:
        return 0.0
    known = np.unique([sample.stamp_ns for sample in infos.samples])
    known = known[(known >= stamps.min()) & (known <= stamps.max())]
    paired = np.isin(known, stamps)
    has_own_stamps = not np.isin(stamps, known).mean() > 0.5
    return 0.0 if not len(known) or has_own_stamps else float(np.mean(~paired))


def _check_missing(check: str, missing: float, cause: Finding | None) -> Iterator[Finding]:
    """The fraction of missing frames, joined with its cause if that is known."""
    if missing <= _MISSING_RATIO:
        return
    found = f"{100 * missing:.0f} % of the frames are missing"
    advice = (
        "they were lost in transport or the camera skipped them (long exposure): see 'messages "
        "are lost' in docs/troubleshooting.md"
    )
    if cause is not None:
        found, advice = f"{found}: {cause.found}", cause.advice
    make = fail if missing > _MISSING_MUCH else warn
    yield make(check, found, advice)


def check_age(stream: Stream, clock: str) -> Iterator[Finding]:
    """Difference between the stamps and the clock they are compared with.

    Args:
        stream: its messages.
        clock: name of the clock of ``arrived_ns``: ``the system clock``, ``/clock`` or ``the time
            of recording``.
    """
    check = f"age {stream.topic}"
    ages = [s.arrived_ns - s.stamp_ns for s in stream.samples if s.stamp_ns]
    if not ages:
        return
    age_s = float(np.median(ages)) * 1e-9
    if abs(age_s) > _OTHER_CLOCK_S:
        yield warn(
            check,
            f"stamps are {_duration(abs(age_s))} {'behind' if age_s > 0 else 'ahead of'} {clock}",
            "two clocks: play bags with --clock and set use_sim_time on every node, or make "
            "the camera's driver stamp in system time",
        )
    elif age_s < -_FUTURE_S:
        yield warn(
            check,
            f"stamps are {-age_s:.3f} s ahead of {clock}",
            "TF refuses times in the future: synchronize the clocks (chrony, PTP)",
        )
    elif age_s > _OLD_S:
        yield warn(
            check,
            f"images arrive {age_s:.2f} s after their stamp",
            "look for a queue in the driver, a slow network, or clocks that are not synchronized",
        )
    else:
        yield ok(check, f"{1000 * age_s:.1f} ms behind {clock}")


def _duration(seconds: float) -> str:
    """In the largest unit of which there are two or more, such as "56.9 years"."""
    for name, length_s in _UNITS.items():
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.1f} {name}"
    return f"{seconds:.0f} s"


def check_pairing(images: Stream, infos: Stream) -> Iterator[Finding]:
    """Whether images and calibrations match in stamp and frame."""
    check = f"pair {images.topic}"
    differ = images.frame_ids and infos.frame_ids and images.frame_ids != infos.frame_ids
    if differ:
        yield warn(
            check,
            f"images have frame {_names(images)}, camera_info has {_names(infos)}",
            "publish both with the camera's optical frame",
        )
    exposed = {sample.stamp_ns for sample in images.samples}
    calibrated = {sample.stamp_ns for sample in infos.samples}
    if len(exposed) > 2 and len(calibrated) > 2 and not exposed & calibrated:
        yield warn(
            check,
            f"no camera_info on {infos.topic} has the stamp of an image",
            "this node uses the newest one, but image_pipeline needs equal stamps: copy the "
            "image's header",
        )
    elif not differ:
        yield ok(check, f"calibration of {_names(infos)} on {infos.topic}")


def _names(stream: Stream) -> str:
    return " and ".join(f"'{name}'" for name in sorted(stream.frame_ids)) or "no name"
