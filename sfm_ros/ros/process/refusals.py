"""What rclpy refuses, as one line: an argument, a name, a parameter, or to start at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.exceptions import NameValidationException, ParameterException

from sfm_ros.errors import SfmRosError, printable

REFUSALS = (NameValidationException, ParameterException)
"""What only rclpy raises; else it raises a RuntimeError."""
_SOURCE = re.compile(r", at /\S+:\d+")
_NO_FOLDER = re.compile("[Ff]ailed to (create|get) log(ging)? directory")
_ADVICE = "set ROS_LOG_DIR to a folder that can be written"


class RefusalError(SfmRosError):
    """rclpy refused something.

    Attributes:
        reason: in one line.
        advice: what to do, where the reason does not state it; else empty.
    """

    def __init__(self, prefix: str, error: Exception) -> None:
        self.reason = f"{prefix}{reason_of(error)}"
        self.advice = _ADVICE if _NO_FOLDER.search(str(error)) else ""
        super().__init__("; ".join(filter(None, (self.reason, self.advice))))


@contextmanager
def one_line_errors(prefix: str = "") -> Iterator[None]:
    """Turn rclpy's errors into a `RefusalError` of one line; around calls of rclpy alone."""
    try:
        yield
    except (RuntimeError, *REFUSALS) as error:
        raise RefusalError(prefix, error) from error


def reason_of(error: Exception) -> str:
    """The reason in one line, without the places in the source that rcl appends."""
    text = str(error)
    if isinstance(error, NameValidationException):
        text = text.splitlines()[0].rstrip(":")  # the next ones point at the character
    elif type(error).__name__ == "UnknownROSArgsError":
        text = f"unknown arguments of ROS {text}"
    text = _SOURCE.sub("", text).removeprefix("failed to resolve name: ")
    return printable(" ".join(text.split()))
