"""The sources prepare.py knows, and how a command line names them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sfm_ros.sources.base import Source
from sfm_ros.sources.synthetic import KINDS, SyntheticConfig, SyntheticStreet


@dataclass(frozen=True, slots=True)
class Job:
    """One ride to prepare.

    Attributes:
        name: unique within the set.
        provenance: where it comes from, for whoever asks later what a model was trained on.
        open: makes the source; can be sent to another process.
    """

    name: str
    provenance: str
    open: Callable[[], Source]


def synthetic_jobs(options: argparse.Namespace) -> list[Job]:
    """One street for each seed."""
    return [
        Job(
            name=f"street-{options.kind}-{seed}",
            provenance=f"rendered by sfm_ros, kind {options.kind}, seed {seed}; no rights reserved",
            open=partial(
                SyntheticStreet,
                SyntheticConfig(
                    seed=seed,
                    width=options.width,
                    height=options.height,
                    frames=options.frames,
                    fps=options.fps,
                    kind=options.kind,
                ),
            ),
        )
        for seed in options.seeds
    ]


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Declare a command a kind of source."""
    synthetic = commands.add_parser("synthetic", parents=[common], help="rendered streets")
    synthetic.add_argument("--seeds", type=seed_range, default=range(24), help="such as 0-23 or 7")
    synthetic.add_argument("--frames", type=int, default=150, help="frames of each street")
    synthetic.add_argument("--fps", type=float, default=10.0)
    synthetic.add_argument("--kind", choices=KINDS, default="mixed")
    synthetic.set_defaults(jobs_of=synthetic_jobs)


def seed_range(text: str) -> range:
    """``4-9`` (both included) or ``4``."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"'{text}' is not a range such as 0-23")
    return range(int(first), int(last or first) + 1)
