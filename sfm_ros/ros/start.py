"""Where programs begin: light, so that a signal is obeyed from the first moment.

The imports take a second, in which a signal would end in a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import time

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TWICE_WITHIN_S = 0.3
"""Under `ros2 launch` a Ctrl-C comes twice, from the terminal and then from launch, which reports
a program that is gone by the second as one that died, with exit code 255."""


def node() -> int:
    """The plain node; see :func:`sfm_ros.ros.node.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.node import main

    return _left_with(main())


def lifecycle_node() -> int:
    """The managed node; see :func:`sfm_ros.ros.lifecycle.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.lifecycle import main

    return _left_with(main())


def bag_player() -> int:
    """See :func:`sfm_ros.ros.bag_player.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.bag_player import main

    return _left_with(main())


def bag_recorder() -> int:
    """See :func:`sfm_ros.ros.bag_recorder.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.bag_recorder import main

    return _left_with(main())


def static_transform() -> int:
    """See :func:`sfm_ros.ros.static_transform.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.static_transform import main

    return _left_with(main())


def truth_path() -> int:
    """See :func:`sfm_ros.ros.truth_path.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.truth_path import main

    return _left_with(main())


def _left_with(code: int) -> int:
    """End the process here: all that is ours is closed by now.

    On the interpreter's way out, where no signal is heard any more, Fast DDS may wait for a lock
    in shared memory that a process which is gone has held.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _leave_at_once_when_told() -> None:
    """There is nothing to clean up yet."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def _leave(*_: object) -> None:
    time.sleep(_TWICE_WITHIN_S)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(node())
