"""Scores of trajectories, runs and depth, in the measures of the field."""

from __future__ import annotations

import argparse
import importlib
import sys

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.safety.own_process import own_process

_COMMANDS = ("evaluate_trajectory", "evaluate_bag", "evaluate_depth", "evaluate_compare")
RENAMED = {
    "--truth": "--ground-truth",
    "--truth-frame": "--ground-truth-frame",
    "--units-per-metre": "--units-per-meter",
}
"""Options of version 0.1 by the names they have now: an old name is refused with the new one."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; ``run`` of the result is the command."""
    parser = program_parser(__doc__, "sfm_evaluate")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in _needed_commands(arguments):
        importlib.import_module(f"sfm_ros.cli.{name}").add_command(subparsers)
    for old in (argument.partition("=")[0] for argument in arguments):
        if old in RENAMED:
            parser.error(f"{old} is now called {RENAMED[old]}")
    return parser.parse_args(arguments)


def _needed_commands(arguments: list[str]) -> tuple[str, ...]:
    """The named command alone, because importing the others takes a second; else all."""
    named = f"evaluate_{arguments[0]}" if arguments else ""
    return (named,) if named in _COMMANDS else _COMMANDS


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 1 on failure, 130 if it was interrupted."""
    if arguments is None:
        own_process("sfm_evaluate")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    return run_program("sfm_evaluate", lambda: options.run(options))


if __name__ == "__main__":
    sys.exit(main())
