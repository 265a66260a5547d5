"""How a program of this package is started where it is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def start_of(program: str) -> str:
    """What to type to start a program, such as ``sfm_doctor``.

    Its name, if pip put it on the PATH; its path, if the environment it belongs to is not active;
    else through ``ros2 run``, because colcon installs programs where only ROS finds them.
    """
    if shutil.which(program):
        return program
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.is_file() else f"ros2 run sfm_ros {program}"
