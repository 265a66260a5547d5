"""Errors for users. A message names what was found, what was expected and what to do."""

PRINTED_CHARACTERS = 500
"""Longest text of others in a message or a line of a log."""


def printable(text: object, limit: int = PRINTED_CHARACTERS) -> str:
    """A text of others as part of one line: no escape sequence, no line break, bounded length.

    A name or an error that comes from a message could move the cursor of a terminal, forge lines
    of a log, or fill the disk with it.

    Args:
        text: anything.
        limit: characters of the result at most, the note on what was left out included.
    """
    raw = str(text)
    shown = "".join(c if c.isprintable() else _escaped(c) for c in raw[: limit + 1])
    if len(raw) <= limit and len(shown) <= limit:
        return shown
    note = f"... ({len(raw)} characters)"
    return shown[: max(limit - len(note), 0)] + note


def reason_of(error: Exception) -> str:
    """The text of an error, or the name of its type if it has none."""
    return str(error) or type(error).__name__


def without_ros(reason: object) -> str:
    """What every program that needs ROS 2 prints where it cannot be imported."""
    return (
        f"ROS 2 cannot be imported ({printable(reason)}): source its setup.bash, or install "
        "requirements/ros-jazzy.txt"
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class SfmRosError(Exception):
    """Base of all errors raised on purpose; programs print them without a traceback."""


class CalibrationError(SfmRosError):
    """A camera calibration is missing, empty, not finite or does not fit its image."""


class ImageError(SfmRosError):
    """An image or image message cannot be turned into an RGB image."""


class ModelError(SfmRosError):
    """A model bundle is missing, damaged, or of another format version."""


class EngineError(SfmRosError):
    """An inference engine cannot be created or failed while running."""


class EngineNotBuiltError(EngineError):
    """An engine would work here, but has to be built for this machine first."""


class EngineRefusedError(EngineError):
    """An engine works here, but the parity gate refused what it computes."""


class SourceError(SfmRosError):
    """A folder, video, bag or data set cannot be read as a sequence of frames."""


class TrajectoryError(SfmRosError):
    """A trajectory file or a pair of trajectories cannot be used."""


class ConfigError(SfmRosError):
    """A configuration has an unknown key or a value out of range."""


class OutputError(SfmRosError):
    """An output folder holds files of others, is being written, or cannot be written."""


class UnsafeFileError(SfmRosError):
    """A file is larger, deeper or of another kind than is accepted from somebody else."""
