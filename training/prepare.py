"""Turn recordings, image folders or synthetic streets into a prepared set for training.

    python training/prepare.py synthetic prepared/street --seeds 0-23 --frames 150 --jobs 2
    python training/prepare.py folder prepared/city --images DIR --calib camera_info.yaml
    python training/prepare.py kitti prepared/kitti --root DIR --camera 2,3 --jobs 8
    python training/prepare.py video prepared/video --file FILE --calib camera_info.yaml
    python training/prepare.py bag prepared/bag --file BAG --topic /camera/image_raw
    python training/prepare.py report prepared/bag

Each image is rectified, cropped to the aspect of the networks and resized. Several calls with one
output folder add to it; an interrupted call continues when it is run again. A source that cannot
be used is reported and left out. The report lists what to check before spending hours on training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sfm_ros.cameras.config import INPUTS
from sfm_ros.cli.program import INCOMPLETE, program_parser, run_program
from sfm_ros.errors import SourceError
from sfm_ros.formats.gray_range import AUTO_BITS
from sfm_ros.outputs.folder import named_paths, require_room
from sfm_ros.safety.own_process import own_process
from training.data.sequence import PreparedSet
from training.preparation.frame_options import TEACHERS, FrameOptions
from training.preparation.kitti import add_kitti_command
from training.preparation.recordings import list_recordings
from training.preparation.run import Failures, Preparation
from training.preparation.set_folder import (
    REPORT_FILES,
    REPORT_IMAGE,
    REPORT_TEXT,
    SET_FILES,
    set_folder,
)
from training.preparation.set_statistics import measure
from training.preparation.sources import add_commands
from training.preparation.writer import PreparedWriter


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit code of `run_program`, 1 also if a source failed, and 3 if a part of
    one could not be read."""
    if arguments is None:
        own_process("prepare")
    options = parse(arguments)
    stopped = f"stopped; run the same command to continue {options.out}"
    return run_program("prepare", lambda: _run(options), stopped)


def _run(options: argparse.Namespace) -> int:
    if options.command == "report":
        print(report_again(options.out))
        return 0
    preparation = prepare(options)
    if preparation.unreadable:
        text = f"WARNING: {preparation.unreadable} frames of the sources could not be read"
        print(f"prepare: {text}", file=sys.stderr)
    if preparation.failures:
        print(f"prepare: {_summary(preparation.failures)}", file=sys.stderr)
        return 1
    return INCOMPLETE if preparation.unreadable else 0


def prepare(options: argparse.Namespace) -> Preparation:
    """Prepare the sources that the options name; returns what became of them.

    Raises:
        SfmRosError: no source could be used, or the set cannot be continued with these options.
    """
    sources = options.list_sources(options)
    recordings = list_recordings(
        sources, frame_options(options), options.interleave, options.provenance
    )
    inputs = [*named_paths(options, "out"), *(s.path for s in sources if s.path is not None)]
    with set_folder(options.out, inputs, not options.no_report) as folder:
        writer = PreparedWriter(options.out, options.width, options.height)
        preparation = Preparation(writer, options.jobs)
        missing = preparation.missing(recordings)
        _check_any(preparation, writer.frame_count + len(missing))
        frames = sum(recording.expected for recording in missing)
        bytes_per_pixel = 3 if options.teacher == "none" else 5
        require_room(options.out, frames * options.width * options.height * bytes_per_pixel)
        parts, reports = preparation.part_files(missing), () if options.no_report else REPORT_FILES
        folder.begin([*SET_FILES, *parts, *reports])
        preparation.add(missing)
        _check_any(preparation, writer.frame_count)
        prepared = writer.finish()
        print(measure(prepared).headline() if options.no_report else report(prepared))
        folder.complete()
    return preparation


def _check_any(preparation: Preparation, usable: int) -> None:
    if preparation.failures and not usable:
        raise SourceError(_summary(preparation.failures))


def report_again(out: Path) -> str:
    """The report on an existing set, see `report`."""
    prepared = PreparedSet.open(out)
    with set_folder(out, (), with_report=True) as folder:
        folder.begin([*SET_FILES, *REPORT_FILES])
        text = report(prepared)
        folder.complete()
    return text


def report(prepared: PreparedSet) -> str:
    """Measure a set, write its report beside its frames and return the text."""
    from training.preparation.checks import report_text
    from training.preparation.figure import draw

    statistics = measure(prepared)
    text = report_text(statistics)
    (prepared.path / REPORT_TEXT).write_text(text + "\n", encoding="utf-8")
    draw(statistics, prepared.path / REPORT_IMAGE)
    return f"{text}\nfigure: {prepared.path / REPORT_IMAGE}"


def frame_options(options: argparse.Namespace) -> FrameOptions:
    """Those of the options that select and resample frames."""
    return FrameOptions(**{f.name: getattr(options, f.name) for f in fields(FrameOptions)})


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = _common_options()
    add_commands(commands, common)
    add_kitti_command(commands, common)
    again = commands.add_parser("report", help="report on an existing set")
    again.add_argument("out", type=Path, help="folder of the prepared set")
    return parser.parse_args(arguments)


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("out", type=Path, help="folder of the prepared set")
    common.add_argument("--width", type=int, default=416)
    common.add_argument("--height", type=int, default=128)
    common.add_argument(
        "--input", choices=INPUTS, default="auto",
        help="whether the images are rectified already",
    )  # fmt: skip
    common.add_argument(
        "--bits", type=int, default=AUTO_BITS, choices=(AUTO_BITS, *range(8, 17)), metavar="N",
        help="significant bits of 16-bit images; default: find the range of brightness",
    )  # fmt: skip
    common.add_argument(
        "--fit", choices=("crop", "stretch"), default="crop",
        help="crop keeps the aspect, as the node does; stretch keeps the whole image, as "
        "published results do",
    )  # fmt: skip
    common.add_argument("--every", type=_positive, default=1, help="take each K-th frame only")
    common.add_argument(
        "--interleave", action="store_true", help="with --every K: also the K - 1 in between"
    )
    common.add_argument("--limit", type=_positive, help="maximum number of frames of each source")
    common.add_argument(
        "--min-change", type=float, default=0.0,
        help="drop frames whose mean gray difference (of 255) to the last kept one is smaller",
    )  # fmt: skip
    common.add_argument(
        "--teacher", choices=TEACHERS, default="none",
        help="depth and poses for frames without ground truth; geometry: by the motion of tracked "
        "keypoints and triangulated optical flow, metric by the height of the camera",
    )  # fmt: skip
    common.add_argument(
        "--camera-height", type=_height,
        help="meters above the road, stored in the set and needed by the teacher; default: as the "
        "source states it",
    )  # fmt: skip
    common.add_argument("--provenance", help="origin and licence, stored in the set")
    common.add_argument(
        "--jobs", type=_positive, default=1, help="number of processes, or threads for one source"
    )
    common.add_argument("--no-report", action="store_true", help="write no report")
    common.add_argument(
        "--max-gap", type=float, default=2.0, help="seconds without a frame that end a sequence"
    )
    return common


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def _height(text: str) -> float:
    value = float(text)
    if not 0.2 <= value <= 10.0:
        raise argparse.ArgumentTypeError(f"{value:g} m is not 0.2 to 10 meters")
    return value


def _summary(failures: Failures) -> str:
    if len(failures) == 1:
        (name, error), *_ = failures.items()
        return f"{name} is left out: {error}"
    lines = [f"  {name}: {error}" for name, error in failures.items()]
    heading = f"{len(lines)} sources are left out; fix them and run the same command again:"
    return "\n".join([heading, *lines])


if __name__ == "__main__":
    sys.exit(main())
