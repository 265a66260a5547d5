"""What a long command shows while it works."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(what: str, total: int) -> tqdm:
    """A bar on a terminal, one line in a log."""
    if not sys.stderr.isatty():
        print(f"{what} {total} frames", file=sys.stderr, flush=True)
    return tqdm(total=total, desc=what, unit="frame", disable=None)
