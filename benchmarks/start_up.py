"""Time from the start of the node to its first depth, with an empty cache and with a full one.

    python benchmarks/start_up.py [--engine auto] [--precision auto] [--model DIR]

A camera of 10 Hz is there before the node. Prints when the first depth was received, counted from
the start of the node's process, its processor time by then, and what it logs about its engines.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from node_cpu import cpu_seconds, node_words
from traffic import Traffic

from sfm_ros.cli.engine_options import add_engine_options, with_engine_options
from sfm_ros.config import ModelConfig
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import private_middleware
from sfm_ros.evaluation.runs.processes import ProcessGroup

_PERIOD_S = 0.1
_LONGEST_S = 60.0
_AFTERWARDS_S = 6.0
"""How long the engines are observed after the first depth."""
_RUNS = ("empty cache", "the second start", "the third start")


class EarlyCamera(Traffic):
    """Publishes whether or not the node is there.

    Attributes:
        first_s: steady time at which the first depth was received; 0 before.
    """

    first_s = 0.0

    def send(self) -> None:
        """Send the calibration and the next image."""
        self._infos.publish(self._info)
        super().send()

    def _on_depth(self, content: bytes) -> None:
        super()._on_depth(content)
        self.first_s = self.first_s or time.monotonic()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_engine_options(parser)
    parser.add_argument("--size", default="1242x375", help="size of the images")
    options = parser.parse_args()
    width, height = (int(number) for number in options.size.split("x"))
    print(provenance())
    try:
        model = with_engine_options(ModelConfig(), options)
        with tempfile.TemporaryDirectory(prefix="sfm_benchmark_") as folder:
            os.environ.update(private_middleware(), XDG_CACHE_HOME=f"{folder}/cache")
            camera = EarlyCamera(width, height)
            for run in _RUNS:
                print(f"{run}: {first_depth(model, camera, Path(folder, run))}")
            camera.close()
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def first_depth(model: ModelConfig, camera: EarlyCamera, logs: Path) -> str:
    """Start a node and end it again; what happened.

    Raises:
        SfmRosError: the node ended, or sent no depth.
    """
    camera.first_s = cpu_s = 0.0
    with ProcessGroup(logs) as children:
        begin = time.monotonic()
        children.start("node", node_words(model))
        end = begin + _LONGEST_S
        while time.monotonic() < end:
            camera.send()
            time.sleep(_PERIOD_S)
            children.check("node")
            if camera.first_s and not cpu_s:
                cpu_s = cpu_seconds(children.pid("node"))
                end = min(end, camera.first_s + _AFTERWARDS_S)
    if not camera.first_s:
        raise SfmRosError(f"no depth within {_LONGEST_S:.0f} s:\n{children.log_tail('node')}")
    lines = (logs / "node.log").read_text(encoding="utf-8").splitlines()
    engines = ["\n  " + line for line in lines if ": engine " in line]
    first = f"the first depth after {camera.first_s - begin:.2f} s"
    return f"{first}, {cpu_s:.2f} s of processor time" + "".join(engines)


if __name__ == "__main__":
    sys.exit(main())
