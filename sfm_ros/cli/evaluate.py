"""Scores of trajectories, runs and depth, in the measures the field compares itself by."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys

from sfm_ros.errors import SfmRosError

_COMMANDS = ("evaluate_trajectory", "evaluate_bag", "evaluate_depth", "evaluate_compare")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; ``run`` of the result is what was asked for."""
    parser = argparse.ArgumentParser(prog="sfm_evaluate", description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in _wanted(sys.argv[1:] if arguments is None else arguments):
        importlib.import_module(f"sfm_ros.cli.{name}").add_command(subparsers)
    return parser.parse_args(arguments)


def _wanted(arguments: list[str]) -> tuple[str, ...]:
    """The named command alone, for the others' libraries take a second to import; else all."""
    named = f"evaluate_{arguments[0]}" if arguments else ""
    return (named,) if named in _COMMANDS else _COMMANDS


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 on success, 1 where it cannot, 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill cleans up like Ctrl-C
    options = parse(arguments)
    try:
        return options.run(options)
    except (SfmRosError, OSError) as error:
        print(f"sfm_evaluate: ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sfm_evaluate: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
