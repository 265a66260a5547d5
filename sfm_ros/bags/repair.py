"""What to do about a storage file that cannot be read, by what it holds."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

_HEADS = {".mcap": b"\x89MCAP0\r\n", ".db3": b"SQLite format 3\0", ".bag": b"#ROSBAG V2.0\n"}
_RECORDING = ".active"
"""At the end of a bag that `rosbag record` has not finished."""


def unfinished_bag(path: Path) -> str | None:
    """What to do with the file of a `rosbag record` that runs or was killed; None for others."""
    if path.suffix != _RECORDING:
        return None
    whole = path.with_suffix("")
    return (
        f"its recorder still runs, or was killed: if so, `rosbag reindex {quote(str(path))}` and "
        f"rename it to {whole.name}"
    )


def advice_for(file: Path) -> str:
    """The cause, if the content of a damaged file shows it, and the tool that repairs it."""
    try:
        with file.open("rb") as stream:
            start = stream.read(max(map(len, _HEADS.values())))
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if not start.strip(b"\0"):
        return f"{file.name} holds nothing: its recorder did not write, or the disk was full"
    suffix = file.suffix.lower()
    kinds = [each for each, head in _HEADS.items() if start.startswith(head)]
    if kinds and kinds[0] != suffix:
        return f"{file.name} holds what belongs into a {kinds[0]} file: rename it"
    if not kinds and suffix in _HEADS:
        return f"{file.name} does not start as a {suffix} file, which no tool repairs"
    name, repaired = quote(str(file)), quote(str(file.with_name(f"{file.stem}_repaired{suffix}")))
    command = {
        ".mcap": f"mcap recover {name} -o {repaired}",
        ".db3": f"sqlite3 {name} .recover | sqlite3 {repaired}",
        ".bag": f"rosbag reindex {name}",
    }[suffix]
    return (
        "it is damaged, incomplete or of an unknown version; "
        f"`{command}` restores what can be read"
    )
