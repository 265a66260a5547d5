"""One fault per test, over the middleware: its reason is reported, and no pose is wrong.

The node processes every image, and its networks read the motion off the brightness, so that each
test knows where the node must be. Stamps are those of the images, not of the clock.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from rig.probe import Probe

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.camera import HEIGHT, PERIOD_NS, WIDTH, image, image_message, info_message
from rig.fake_node import FORWARD, STAND
from rig.fault_rig import STEP_M, FaultRig, message_of, start_node
from rosgraph_msgs.msg import Clock

from sfm_ros.datatypes import Reason
from sfm_ros.ros.conversions import stamp_from_ns, stamp_to_ns


@pytest.fixture(scope="module")
def shared(probe: Probe, domain: int) -> Iterator[FaultRig]:
    """One node for all."""
    rig = FaultRig(probe, start_node(domain))
    yield rig
    rig.program.kill()


@pytest.fixture
def rig(shared: FaultRig, domain: int) -> FaultRig:
    """A node that tracks, at x = 1 m. If a test has ended it, the next one gets another."""
    if shared.program.process.poll() is not None:
        shared.program = start_node(domain)
    shared.begin()
    return shared


# The camera


def test_unplugged_for_five_seconds_and_back(rig: FaultRig) -> None:
    """Stamps leave out 5 s; in real time it is silent until the node reports it, some 2 s."""
    rig.wait_for_silence()
    assert rig.status == "lost"
    rig.now_ns += 50 * PERIOD_NS
    covariance = rig.odometry[-1].pose.covariance[0]
    odometry = rig.drive(STAND, FORWARD, FORWARD)
    assert odometry.pose.pose.position.x == pytest.approx(2.0)  # held, then both steps
    assert odometry.pose.covariance[0] > covariance + 0.1  # of the untracked motion
    rig.wait_for(Reason.GAP)
    rig.end(2.0, gap=1)


def test_driver_that_is_restarted(rig: FaultRig) -> None:
    """Other publishers replace those that are gone."""
    for topic in ("/image", "/camera_info"):
        rig.probe.unplug(topic)
    rig.wait_for_silence()
    rig.now_ns += 50 * PERIOD_NS
    rig.settle()
    rig.wait_for(Reason.GAP)
    assert rig.drive(FORWARD).pose.pose.position.x == pytest.approx(1.5)
    rig.calibrate()
    rig.end(1.5, gap=1)


def test_frozen_image(rig: FaultRig) -> None:
    pixels = image(FORWARD, 1)
    odometry = rig.message_of(rig.odometry, rig.show_pixels(pixels))
    frozen = [rig.show_pixels(pixels) for _ in range(4)]
    rig.wait_for(Reason.FROZEN_IMAGE)
    rig.end(1.5, frozen_image=4)
    assert not {stamp_to_ns(m.header.stamp) for m in rig.odometry} & set(frozen)
    assert odometry.pose.pose.position.x == pytest.approx(1.5)  # once, not five times


PLAIN = {"black": 0, "white": 255}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_image(rig: FaultRig, name: str) -> None:
    for _ in range(2):
        rig.show_pixels(np.full((HEIGHT, WIDTH, 3), PLAIN[name], np.uint8))
    rig.wait_for(Reason.NO_TEXTURE)
    rig.end(1.0, no_texture=2)


def test_noise_image(rig: FaultRig) -> None:
    rng = np.random.default_rng(1)
    for _ in range(2):
        rig.show_pixels(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    rig.wait_for(Reason.IMAGE_NOISE)
    rig.end(1.0, image_noise=2)


def test_exposure_jump(rig: FaultRig) -> None:
    rig.show(STAND + 60)
    odometry = rig.drive(STAND, FORWARD, FORWARD)
    assert odometry.pose.pose.position.x == pytest.approx(2.0)
    rig.wait_for(Reason.EXPOSURE_JUMP)  # there and back
    rig.end(2.0, exposure_jump=2)


def test_thirty_percent_of_the_frames_are_lost(rig: FaultRig) -> None:
    """At 5 Hz, at which two in a row are a gap; lost frames are never sent."""
    arrives = np.random.default_rng(6).random(60) > 0.3
    x, gaps, run, missing = 1.0, 0, 3, 0
    for is_there in arrives:
        rig.now_ns += 2 * PERIOD_NS
        if not is_there:
            missing += 1
            continue
        is_gap = missing >= 2  # 0.6 s
        gaps += is_gap
        run = 1 if is_gap else run + 1
        x += STEP_M * (0 if run < 3 else 2 if run == 3 else 1)
        missing = 0
        rig.send(image_message(FORWARD, rig.now_ns))
    assert gaps >= 3 and 0.6 < arrives.mean() < 0.8
    rig.wait_for(Reason.GAP)
    rig.end(x, gap=gaps)


# Stamps


def test_jittering_stamps(rig: FaultRig) -> None:
    """40 of 100 ms either way."""
    begin, before, rng = rig.now_ns, len(rig.odometry), np.random.default_rng(2)
    for index in range(1, 21):
        rig.now_ns = begin + index * PERIOD_NS
        jitter = int(rng.integers(-4, 5)) * PERIOD_NS // 10
        rig.send(image_message(FORWARD, rig.now_ns + jitter))
    rig.now_ns += PERIOD_NS
    rig.end(11.0)
    assert len(rig.odometry) >= before + 20


def test_stamps_so_close_that_the_motion_is_implausible(rig: FaultRig) -> None:
    """Half a meter in a millisecond."""
    rig.send(image_message(FORWARD, rig.now_ns + 1_000_000))
    rig.wait_for(Reason.IMPLAUSIBLE_MOTION)
    rig.end(1.0, implausible_motion=1)


def test_duplicated_stamps(rig: FaultRig) -> None:
    for seed in range(3):
        rig.send(message_of(image(FORWARD, seed), rig.now_ns))
    rig.wait_for(Reason.DUPLICATE_STAMP)
    rig.end(1.0, duplicate_stamp=3)
    assert rig.count("duplicates") == 3


def test_reversed_stamps(rig: FaultRig) -> None:
    """Two images are swapped, again and again."""
    for _ in range(4):
        rig.now_ns += 2 * PERIOD_NS
        rig.send(image_message(FORWARD, rig.now_ns))
        rig.send(image_message(FORWARD, rig.now_ns - PERIOD_NS))
    rig.wait_for(Reason.OUT_OF_ORDER)
    rig.end(3.0, out_of_order=4)


def test_zero_stamps(rig: FaultRig) -> None:
    for seed in range(3):
        rig.send(message_of(image(FORWARD, seed), 0))
    rig.wait_for(Reason.NO_STAMP)
    rig.end(1.0, no_stamp=3)


def test_nanoseconds_beyond_a_second(rig: FaultRig) -> None:
    bad = image_message(FORWARD, rig.now_ns)
    bad.header.stamp.nanosec = 2**32 - 1
    rig.probe.publish("/image", bad)
    rig.wait_for(Reason.BAD_IMAGE)
    rig.end(1.0, bad_image=1)


def test_clock_reset_by_a_looping_bag(rig: FaultRig) -> None:
    """/clock and the stamps go back together; the odometry starts again, once."""
    assert rig.set_parameter("use_sim_time", True).successful
    try:
        rig.probe.publish("/clock", Clock(clock=stamp_from_ns(rig.now_ns)))
        before, printed = rig.now_ns, len(rig.program.output)
        rig.now_ns -= 333_000_000_001  # stamps that were not used before
        rig.forget()
        rig.probe.publish("/clock", Clock(clock=stamp_from_ns(rig.now_ns)))
        odometry = rig.drive(STAND, FORWARD, FORWARD)
        assert odometry.pose.pose.position.x == pytest.approx(1.0)
        rig.wait_for(Reason.TIME_REVERSED)
        assert rig.program.wait_for("time went back", printed).count("time went back") == 1
        rig.end(1.0, time_reversed=1)
    finally:
        rig.now_ns = before + PERIOD_NS
        assert rig.set_parameter("use_sim_time", False).successful


# The calibration


def test_camera_info_changed_mid_stream(rig: FaultRig) -> None:
    rig.calibrate(info_message(focal=90.0))
    rig.show_until(Reason.CALIBRATION_CHANGED)
    rig.end(1.0)
    info = rig.message_of(rig.depth_info, rig.now_ns)
    assert info.k[0] == pytest.approx(45.0)  # half, as the grid is


def test_camera_info_of_the_wrong_size(rig: FaultRig) -> None:
    rig.calibrate(info_message(width=WIDTH // 2, height=HEIGHT // 2))
    rig.show_until(Reason.CALIBRATION_MISMATCH)
    assert rig.status == "lost"
    rig.calibrate()
    rig.end(1.0)


def test_camera_info_scaled_by_ten_percent(rig: FaultRig) -> None:
    """A node upstream resizes the image but not the calibration, or the reverse."""
    rig.calibrate(info_message(88.0, round(1.1 * WIDTH), round(1.1 * HEIGHT)))
    rig.show_until(Reason.CALIBRATION_MISMATCH)
    rig.calibrate()
    rig.end(1.0)
    assert "for 141x70" in rig.status_values["last_trouble"]


def test_focal_length_scaled_by_ten_percent(rig: FaultRig) -> None:
    rig.calibrate(info_message(88.0))
    rig.show_until(Reason.CALIBRATION_CHANGED)
    rig.end(1.0)


def test_resolution_switched_mid_stream(rig: FaultRig) -> None:
    """The images first, as a driver does, then their calibration; and back."""
    large = image(FORWARD, 5, 2 * WIDTH, 2 * HEIGHT)
    rig.show_pixels(large)
    rig.wait_for(Reason.CALIBRATION_MISMATCH)
    rig.calibrate(info_message(160.0, 2 * WIDTH, 2 * HEIGHT))

    def show_large() -> int:
        return rig.show_pixels(image(STAND, rig.now_ns, 2 * WIDTH, 2 * HEIGHT))

    rig.repeat(show_large, rig.has_odometry_since, "odometry at the other size")
    rig.wait_for(Reason.CALIBRATION_CHANGED)
    stamp = rig.show_pixels(large)
    assert rig.message_of(rig.odometry, stamp).pose.pose.position.x == pytest.approx(1.5)
    info = rig.message_of(rig.depth_info, stamp)
    assert (info.width, info.height, info.k[0]) == (64, 32, pytest.approx(40.0))
    rig.calibrate()
    rig.end(1.5)


# The format of the images


def test_truncated_image(rig: FaultRig) -> None:
    bad = image_message(FORWARD, rig.now_ns + 1)
    bad.data = bad.data[: len(bad.data) // 2]
    rig.probe.publish("/image", bad)
    rig.wait_for(Reason.BAD_IMAGE)
    assert "truncated" in rig.status_values["last_trouble"]
    rig.end(1.0, bad_image=1)


def test_unknown_encoding(rig: FaultRig) -> None:
    bad = image_message(FORWARD, rig.now_ns + 1)
    bad.encoding = "h264"
    rig.probe.publish("/image", bad)
    rig.wait_for(Reason.BAD_IMAGE)
    assert "'h264'" in rig.status_values["last_trouble"]
    rig.end(1.0, bad_image=1)


def test_one_pixel(rig: FaultRig) -> None:
    """With a calibration of another size, then with its own."""
    dot = np.full((1, 1, 3), 100, np.uint8)
    rig.show_pixels(dot)
    rig.wait_for(Reason.CALIBRATION_MISMATCH)
    rig.calibrate(info_message(80.0, 1, 1))
    rig.repeat(
        lambda: rig.show_pixels(dot),
        lambda _: rig.count(Reason.BAD_IMAGE) > 0,
        "the report of an image that is too small",
    )
    assert "is 1x1, expected at least 8x4" in rig.status_values["last_trouble"]
    rig.calibrate()
    rig.end(1.0)


def test_8k_images(rig: FaultRig) -> None:
    """33 MB each: refused while the calibration is another, used with their own."""
    width, height = 7680, 4320
    gray = np.tile(image(STAND, 1, width, 16)[:, :, 1], (height // 16, 1))
    rig.show_pixels(gray)
    rig.wait_for(Reason.CALIBRATION_MISMATCH)
    rig.calibrate(info_message(4800.0, width, height))

    def show_another() -> int:
        return rig.show_pixels(gray + np.uint8(len(rig.shown) % 3))  # none equals the last

    rig.repeat(show_another, rig.has_odometry_since, "odometry of large images")
    rig.wait_for(Reason.CALIBRATION_CHANGED)
    rig.calibrate()
    rig.end(1.0)
