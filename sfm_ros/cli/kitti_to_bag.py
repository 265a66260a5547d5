"""Writes a KITTI raw drive or odometry sequence as a ROS 2 bag (mcap).

In it: /camera/image_raw (or /camera/image_raw/compressed), /camera/camera_info, /tf_static,
/ground_truth/odometry if the drive has poses, /velodyne_points if it has scans. The same command
resumes a run that was stopped or killed; a complete bag is never overwritten.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.errors import SfmRosError
from sfm_ros.formats.trajectory import parse_stamp
from sfm_ros.safety.own_process import own_process
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.sources.kitti.to_bag import COMPRESSIONS, KittiBagConfig, KittiBagWriter

_DEFAULTS = KittiBagConfig()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = program_parser(__doc__, "sfm_kitti_to_bag")
    parser.add_argument(
        "drive",
        type=Path,
        help="folder of a raw drive (2011_09_26/2011_09_26_drive_0052_sync) or of an odometry "
        "sequence (sequences/03)",
    )
    parser.add_argument("bag", type=Path, help="folder of the bag to write")
    parser.add_argument(
        "--camera", help="0 to 3; default: the left color camera, or the first one"
    )
    parser.add_argument(
        "--compress",
        choices=COMPRESSIONS,
        default=_DEFAULTS.compression,
        help="png: lossless; jpeg: small; files of that kind are copied as they are; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--quality", type=int, default=_DEFAULTS.jpeg_quality, help="of jpeg; default: %(default)s"
    )
    parser.add_argument("--no-scans", action="store_true", help="leave out the lidar scans")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N images")
    parser.add_argument(
        "--part-frames",
        type=int,
        default=_DEFAULTS.frames_per_part,
        metavar="N",
        help="images per file of the bag; a killed run loses at most these; default: %(default)s",
    )
    parser.add_argument(
        "--start-time",
        metavar="S",
        help="seconds added to every stamp; default: 1 if the first is 0, as of a sequence",
    )
    options = parser.parse_args(arguments)
    try:
        options.config = KittiBagConfig(
            compression=options.compress,
            jpeg_quality=options.quality,
            scans=not options.no_scans,
            frames=options.frames,
            frames_per_part=options.part_frames,
            start_ns=None if options.start_time is None else parse_stamp(options.start_time),
        )
    except SfmRosError as error:
        parser.error(str(error))
    return options


def main(arguments: list[str] | None = None) -> int:
    """Write the bag; 0 when it is complete, 1 on failure, 130 if it was interrupted."""
    if arguments is None:
        own_process("sfm_kitti_to_bag")
    options = parse(arguments)
    return run_program(
        "sfm_kitti_to_bag",
        lambda: _run(options),
        if_interrupted="interrupted; the same command resumes it",
    )


def _run(options: argparse.Namespace) -> int:
    """Write the missing parts and print where the bag is."""
    writer = KittiBagWriter(open_kitti(options.drive, options.camera), options.bag, options.config)
    print(f"{options.drive}: {writer.contents()}", file=sys.stderr)
    if writer.frames_done:
        print(f"resuming after {writer.frames_done} images", file=sys.stderr)
    with tqdm(total=writer.frames, initial=writer.frames_done, unit="frame", disable=None) as bar:
        writer.write(bar.update)
    print(f"bag: {options.bag.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
