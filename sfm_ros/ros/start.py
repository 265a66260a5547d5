"""Where the programs of the node begin: light, so that a signal is obeyed from the first moment.

The imports take a second, in which a signal would end in a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def node() -> int:
    """The plain node; see :func:`sfm_ros.ros.node.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.node import main

    return main()


def lifecycle_node() -> int:
    """The managed node; see :func:`sfm_ros.ros.lifecycle.main`."""
    _leave_at_once_when_told()
    from sfm_ros.ros.lifecycle import main

    return main()


def _leave_at_once_when_told() -> None:
    """There is nothing to clean up yet."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


if __name__ == "__main__":
    sys.exit(node())
