"""Writes docs/node.md and docs/frames.svg from the code, so that they cannot drift from it.

python scripts/write_node_docs.py            write both
python scripts/write_node_docs.py --check    exit with 1 where a file is not what it would be
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from frames_figure import frames_svg  # noqa: E402  (the path is made above)

from sfm_ros.config import SfmConfig, iter_fields  # noqa: E402
from sfm_ros.datatypes import TrackingStatus  # noqa: E402
from sfm_ros.formats.image_codec import SUPPORTED_ENCODINGS  # noqa: E402
from sfm_ros.reasons import MEANING, STATES  # noqa: E402
from sfm_ros.ros.node.interface import (  # noqa: E402
    DIAGNOSTICS,
    PROGRAMS,
    PUBLICATIONS,
    SERVICES,
    SUBSCRIPTIONS,
    Topic,
)

NOTE = "<!-- Made by scripts/write_node_docs.py out of the code; changes belong there. -->"


def node_md() -> str:
    """The page."""
    sections = (
        _head(),
        _topics("It subscribes to", SUBSCRIPTIONS, "asks for"),
        _topics("It publishes", PUBLICATIONS, "offers"),
        _services(),
        _frames(),
        _states(),
        _diagnostics(),
        _images(),
        _parameters(),
        _programs(),
    )
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def files() -> dict[Path, str]:
    """Every file that is made here, with its content."""
    return {ROOT / "docs" / "node.md": node_md(), ROOT / "docs" / "frames.svg": frames_svg()}


def _head() -> Iterator[str]:
    yield "# The node"
    yield ""
    yield NOTE
    yield ""
    yield (
        "Images and their calibration go in; odometry, depth and transforms come out. `~` is "
        "the node's own name, `/sfm_node` where no namespace was given. When something does not "
        "work: `sfm_doctor`, then [troubleshooting.md](troubleshooting.md)."
    )
    yield ""
    yield "```bash"
    yield "ros2 launch sfm_ros camera.launch.py image_topic:=/camera/image_raw   # a live camera"
    yield "ros2 launch sfm_ros kitti_bag.launch.py bag:=drive.mcap rviz:=true    # a recording"
    yield "```"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _topics(title: str, topics: Iterable[Topic], verb: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    rows = (
        (
            f"`{topic.name}`",
            topic.type_name.replace("/msg", ""),
            f"{topic.reliability.replace('_', ' ')}"
            + (", transient local" if topic.durability == "transient_local" else "")
            + f", {topic.depth}",
            topic.text,
        )
        for topic in topics
    )
    yield from _table(("topic", "type", verb, "what"), rows)
    if verb == "asks for":
        yield ""
        yield (
            "Reliability, durability, history and depth of both camera topics can be overridden: "
            "`qos_overrides./camera/image_raw.subscription.reliability: reliable`."
        )


def _services() -> Iterator[str]:
    yield "## Services"
    yield ""
    rows = ((f"`{s.name}`", s.type_name.replace("/srv", ""), s.text) for s in SERVICES)
    yield from _table(("service", "type", "what"), rows)
    yield ""
    yield (
        "Started as the managed node (`lifecycle:=true` or `manual` in the launch files), it has "
        "the services of a lifecycle node as well: configure loads the model, activate "
        "subscribes, deactivate unsubscribes and keeps the pose, cleanup releases everything. "
        "With `node.autostart` (`lifecycle:=true`) it goes through the first two by itself."
    )


def _frames() -> Iterator[str]:
    yield "## Frames"
    yield ""
    yield "![Frames, who publishes them, and their axes](frames.svg)"
    yield ""
    yield (
        "REP 103 and 105: `odom` is continuous and never jumps. It stands where the child stood "
        "at the first image. The child is `node.base_frame` where TF connects that frame with "
        "the images' frame id, asked for `node.extrinsics_wait_s` at the first image; else it "
        "is the camera itself in body axes. Where motion goes unseen (a gap, a dark image) the "
        "pose is held and its covariance grows."
    )


def _states() -> Iterator[str]:
    yield "## States and reasons"
    yield ""
    yield from _table(("state", "what"), ((f"`{s.value}`", STATES[s]) for s in TrackingStatus))
    yield ""
    rows = ((f"`{r.value}`", meaning, advice) for r, (meaning, advice) in MEANING.items())
    yield from _table(("reason", "what", "what to do"), rows)


def _diagnostics() -> Iterator[str]:
    yield "## What `~/status` and `/diagnostics` hold"
    yield ""
    yield from _table(
        ("key", "what"),
        (
            (", ".join(f"`{k.strip()}`" for k in keys.split(",")), t)
            for keys, t in DIAGNOSTICS.items()
        ),
    )


def _images() -> Iterator[str]:
    yield "## Images and calibrations it takes"
    yield ""
    names = ", ".join(f"`{name}`" for name in sorted(SUPPORTED_ENCODINGS))
    yield (
        f"Raw encodings: {names}; others through cv_bridge where that is installed. Compressed: "
        "JPEG and PNG. Distortion models: `plumb_bob`, `rational_polynomial`, `equidistant`. "
        "Region of interest and binning of camera_info are applied."
    )


def _parameters() -> Iterator[str]:
    yield "## Parameters"
    yield ""
    yield (
        "A wrong name, type or value is refused, and the answer says why. Live ones may change "
        "while the node runs (`ros2 param set`). [config/sfm.yaml](../config/sfm.yaml) has them "
        "with their defaults."
    )
    blocks = {
        field.name: getattr(SfmConfig(), field.name) for field in dataclasses.fields(SfmConfig)
    }
    for block, values in blocks.items():
        yield ""
        yield f"### {block}"
        yield ""
        yield inspect.getdoc(type(values)) or ""
        yield ""
        rows = (
            (
                f"`{name}`",
                f"`{_shown(default)}`",
                _range(option.metadata),
                "live" if option.metadata.get("live") else "",
                option.metadata["description"],
            )
            for name, option, default in iter_fields()
            if name.startswith(f"{block}.")
        )
        yield from _table(("parameter", "default", "range", "", "what"), rows)


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _range(metadata: Any) -> str:
    if metadata["choices"]:
        return ", ".join(f"`{choice}`" for choice in metadata["choices"])
    least, most = metadata["minimum"], metadata["maximum"]
    if least is None and most is None:
        return ""
    if most is None:
        return f"from {least:g}"
    return f"up to {most:g}" if least is None else f"{least:g} to {most:g}"


def _programs() -> Iterator[str]:
    yield "## Programs"
    yield ""
    yield from _table(("program", "what"), ((f"`{n}`", text) for n, text in PROGRAMS.items()))
    yield ""
    yield "Each explains its options with `--help` (`sfm_node`: the parameters above)."


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    stale = [
        path
        for path, content in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    ]
    for path in stale:
        if options.check:
            print(f"{path} is not what the code says: python scripts/write_node_docs.py")
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
        print(f"wrote {path}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
