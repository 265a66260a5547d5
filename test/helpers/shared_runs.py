"""Runs one recipe after the other in the processes that torchrun started: RECIPE OUT ..."""

from __future__ import annotations

import sys

from training import train
from training.distributed import DistributedContext, joined

if __name__ == "__main__":
    names = sys.argv[1:]
    with joined(DistributedContext.of_this_process()):
        for recipe, out in zip(names[::2], names[1::2], strict=True):
            if code := train.main(["--config", recipe, "--out", out]):
                sys.exit(code)
