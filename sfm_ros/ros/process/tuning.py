"""Settings of the process that keep an image's way through the node short."""

from __future__ import annotations

import ctypes
import sys

import cv2

# glibc's numbers for mallopt (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP_BYTES = 64 * 1024 * 1024
_SWITCH_S = 0.0002


def tune_process() -> None:
    """Call once in a program that runs the node, before the first image.

    * Memory of an image's size is kept when it is freed: by default every new 1.4 MB block comes
      from the kernel page by page, which costs more than what is done with the image.
    * OpenCV works in the calling thread: handing parts of images this small to other threads
      takes longer than the work, and the networks want the cores.
    * Threads take turns more often, so that the worker gets an image when it arrives and not when
      the executor next waits.
    """
    cv2.setNumThreads(1)
    sys.setswitchinterval(_SWITCH_S)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library: it only stays slower
    mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 4 * _KEEP_BYTES)
