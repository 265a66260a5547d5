"""Writes a KITTI raw drive or odometry sequence as a ROS 2 bag (mcap).

In it: /camera/image_raw (or /camera/image_raw/compressed), /camera/camera_info, /tf_static,
/ground_truth/odometry where the drive has poses, /velodyne_points where it has scans. A run that
was stopped or killed goes on where it was when the same command is given again; a bag that is
whole is never overwritten.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from sfm_ros.errors import SfmRosError
from sfm_ros.formats.trajectory import parse_stamp
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.sources.kitti.to_bag import COMPRESSIONS, KittiBagConfig, KittiBagWriter

_DEFAULTS = KittiBagConfig()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="sfm_kitti_to_bag",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "drive",
        type=Path,
        help="folder of a raw drive (2011_09_26/2011_09_26_drive_0052_sync) or of an odometry "
        "sequence (sequences/03)",
    )
    parser.add_argument("bag", type=Path, help="folder of the bag to write")
    parser.add_argument(
        "--camera", help="0 to 3; default: the left color camera, or the first there is"
    )
    parser.add_argument(
        "--compress",
        choices=COMPRESSIONS,
        default=_DEFAULTS.compression,
        help="png: without loss; jpeg: small; files of that kind are passed on as they are; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--quality", type=int, default=_DEFAULTS.jpeg_quality, help="of jpeg; default: %(default)s"
    )
    parser.add_argument("--no-scans", action="store_true", help="leave the laser scans out")
    parser.add_argument("--frames", type=int, help="only the first so many images")
    parser.add_argument(
        "--part-frames",
        type=int,
        default=_DEFAULTS.frames_per_part,
        metavar="N",
        help="images in one file of the bag; a killed run loses at most these; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--start-time",
        default="0",
        metavar="S",
        help="seconds added to every stamp (odometry sequences begin at 0); default: %(default)s",
    )
    options = parser.parse_args(arguments)
    try:
        options.config = KittiBagConfig(
            compression=options.compress,
            jpeg_quality=options.quality,
            scans=not options.no_scans,
            frames=options.frames,
            frames_per_part=options.part_frames,
            start_ns=parse_stamp(options.start_time),
        )
    except SfmRosError as error:
        parser.error(str(error))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Write the bag; 0 when it is whole, 1 where it cannot be, 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends like Ctrl-C
    options = parse(arguments)
    try:
        run(options)
    except (SfmRosError, OSError) as error:
        print(f"sfm_kitti_to_bag: ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nsfm_kitti_to_bag: interrupted; the same command goes on where it was",
            file=sys.stderr,
        )
        return 130
    return 0


def run(options: argparse.Namespace) -> None:
    """Write what is missing and say where it lies."""
    writer = KittiBagWriter(open_kitti(options.drive, options.camera), options.bag, options.config)
    print(f"{options.drive}: {writer.contents()}", file=sys.stderr)
    if writer.frames_done:
        print(f"going on after {writer.frames_done} images", file=sys.stderr)
    with tqdm(total=writer.frames, initial=writer.frames_done, unit="frame", disable=None) as bar:
        writer.write(lambda: bar.update() and None)
    print(f"bag: {options.bag.resolve()}")


if __name__ == "__main__":
    sys.exit(main())
