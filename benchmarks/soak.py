"""Whether the node grows: its memory, descriptors and threads over many images.

    python benchmarks/soak.py [--frames 100000] [--size 208x64] [--model DIR] [--threads 2]
        [--out out/soak]

Sends small images to a node in a process of its own, as fast as it processes them, and subscribes
to all its topics. Once per second it reads from /proc what the node's process holds. It prints the
growth after the first 1000 images and writes ``soak.csv``, row by row, and ``soak.png``; Ctrl-C
ends it early, with the samples so far.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm
from traffic import Traffic, node_command

from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import provenance
from sfm_ros.evaluation.runs.online import private_middleware
from sfm_ros.evaluation.runs.processes import ProcessGroup
from sfm_ros.model_spec import ModelSpec
from sfm_ros.outputs.folder import OutputFolder

_FILES = _TABLE, _PLOT = "soak.csv", "soak.png"
_SETTLED = 1000
"""Images after which nothing should grow any more."""
_IN_FLIGHT = 8
_SAMPLE_S = 1.0
_POLL_S = 0.25
_STALLED_S = 5.0
_MOST_STALLS = 12


@dataclass(frozen=True)
class Sample:
    """What the node's process held at one moment.

    Attributes:
        seconds: since the first image.
        frames: images processed so far.
        rss_mb: resident memory, 10^6 bytes.
        descriptors: open files and sockets.
        threads: of the process.
    """

    seconds: float
    frames: int
    rss_mb: float
    descriptors: int
    threads: int


def read_sample(pid: int, seconds: float, frames: int) -> Sample:
    """What a process holds now.

    Raises:
        OSError: it has ended.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return Sample(
        seconds=round(seconds, 3),
        frames=frames,
        rss_mb=int(fields["VmRSS"].split()[0]) * 1024e-6,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(fields["Threads"]),
    )


class Soak:
    """The run; its samples are kept in ``samples`` and in the table, however it ends.

    Args:
        traffic: sends the images.
        children: with the ``node``.
        frames: how many images to send.
        table: file that gets a row for each sample, so that a long run can be followed.
    """

    def __init__(
        self, traffic: Traffic, children: ProcessGroup, frames: int, table: TextIO
    ) -> None:
        self._traffic = traffic
        self._children = children
        self._frames = frames
        self._table = table
        self._rows = csv.writer(table)
        self._rows.writerow(field.name for field in dataclasses.fields(Sample))
        self._pid = children.pid("node")
        self.samples: list[Sample] = []
        self.stalls = 0
        self._stalls_in_a_row = 0
        self._answered_at_stall = 0

    def run(self) -> None:
        """Send all images and wait until the last is processed.

        Raises:
            SfmRosError: the node ended, or does not respond any more.
        """
        traffic = self._traffic
        self._begin_s = time.monotonic()
        with tqdm(total=self._frames, unit="image", disable=None) as bar:
            while traffic.sent < self._frames:
                self._wait_for_room(_IN_FLIGHT, bar)
                traffic.send()
            self._wait_for_room(1, bar)
        self._sample()

    def _wait_for_room(self, limit: int, bar: tqdm) -> None:
        """Sample while waiting; an image that is lost delays nothing for long.

        The wait is counted in polls, not read from the clock: time in which everything was
        stopped, as on a suspended machine, is not a stall of the node.
        """
        for _ in range(round(_STALLED_S / _POLL_S)):
            has_room = self._traffic.wait_for_room(limit, _POLL_S)
            if self._seconds() - (self.samples[-1].seconds if self.samples else -1) >= _SAMPLE_S:
                self._children.check("node")
                self._sample()
                bar.update(self._traffic.answered - bar.n)
            if has_room:
                return
        self._note_stall()

    def _note_stall(self) -> None:
        """After a lost image send the next; give up if none is processed any more."""
        self.stalls += 1
        if self._traffic.answered > self._answered_at_stall:
            self._answered_at_stall = self._traffic.answered
            self._stalls_in_a_row = 0
        self._stalls_in_a_row += 1
        if self._stalls_in_a_row > _MOST_STALLS:
            log = self._children.log_tail("node")
            raise SfmRosError(f"the node does not respond any more:\n{log}")

    def _seconds(self) -> float:
        return time.monotonic() - self._begin_s

    def _sample(self) -> None:
        sample = read_sample(self._pid, self._seconds(), self._traffic.answered)
        self.samples.append(sample)
        self._rows.writerow(dataclasses.astuple(sample))
        self._table.flush()


def main() -> int:
    """Run, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--size", default="208x64", help="of the images")
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    parser.add_argument("--threads", type=int, default=ModelConfig().threads, help="of the engine")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="folder of the results")
    options = parser.parse_args()
    try:
        with OutputFolder(options.out, "soak.py", planned=_FILES) as folder:
            folder.begin(_FILES)
            code = soak(options)
            folder.complete()
        return code
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1


def soak(options: argparse.Namespace) -> int:
    """0 if all images were sent, 130 if it was interrupted, 1 if the node failed."""
    width, height = (int(number) for number in options.size.split("x"))
    bundle = resolve_bundle(options.model).resolve()
    os.environ.update(private_middleware())
    code = 0
    with tempfile.TemporaryDirectory(prefix="sfm_soak_") as logs, _table(options.out) as table:
        with ProcessGroup(Path(logs)) as children:
            children.start("node", node_command(bundle, options.threads, "every"))
            traffic = Traffic(width, height)
            traffic.wait_for_node(children)
            run = Soak(traffic, children, options.frames, table)
            try:
                run.run()
            except KeyboardInterrupt:
                print("interrupted; the samples so far:", file=sys.stderr)
                code = 130
            except (OSError, SfmRosError) as error:
                print(f"ERROR: {error}", file=sys.stderr)
                code = 1
            traffic.close()
    print(provenance())
    about = f"model {ModelSpec.load(bundle).name} on {options.threads} threads"
    print(f"{options.size} rgb8, {about}, all topics subscribed to")
    report(run.samples, run.stalls)
    plot(run.samples, options.out)
    return code


def _table(folder: Path) -> TextIO:
    return (folder / _TABLE).open("w", newline="")


def report(samples: list[Sample], stalls: int) -> None:
    """Print the number of images, their rate, and what grew."""
    if not samples:
        print("nothing was measured")
        return
    last = samples[-1]
    rate = last.frames / max(last.seconds, 1e-9)
    print(f"{last.frames} images in {last.seconds:.0f} s: {rate:.1f} per second; stalls {stalls}")
    settled = [sample for sample in samples if sample.frames >= _SETTLED]
    if len(settled) < 2:
        print(f"too short to measure the growth after the first {_SETTLED} images")
        return
    first = settled[0]
    print(f"{'held by the node':20}{f'at {first.frames}':>12}{'at the end':>12}{'growth':>10}")
    for name, text in (
        ("rss_mb", "memory, MB"),
        ("descriptors", "descriptors"),
        ("threads", "threads"),
    ):
        a, b = getattr(first, name), getattr(last, name)
        digits = 2 if name == "rss_mb" else 0
        print(f"{text:20}{a:12.{digits}f}{b:12.{digits}f}{b - a:+10.{digits}f}")
    frames = [sample.frames for sample in settled]
    slope = np.polyfit(frames, [sample.rss_mb for sample in settled], 1)[0]
    print(f"{'slope of memory':20}{slope * 1e4:+34.3f} MB per 10000 images")


def plot(samples: list[Sample], folder: Path) -> None:
    """Plot what was held over the images."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots(3, sharex=True)
    frames = [sample.frames for sample in samples]
    for axis, name in zip(axes, ("rss_mb", "descriptors", "threads"), strict=True):
        axis.plot(frames, [getattr(sample, name) for sample in samples])
        axis.axvline(_SETTLED, color="gray", linestyle=":")
        axis.set_ylabel(name.replace("rss_mb", "memory, MB"))
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("images")
    figure.suptitle("what the node's process holds")
    figure.savefig(folder / _PLOT, dpi=120)
    print(f"table and plot: {folder / _TABLE}, {folder / _PLOT}")


if __name__ == "__main__":
    sys.exit(main())
