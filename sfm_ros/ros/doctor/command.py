"""Examine a running system or a bag, and print what to change for the odometry to work.

    sfm_doctor                         the running system, observed for a few seconds
    sfm_doctor --bag recording.mcap    a bag, before it is played

Prints one line per check: OK, WARN (it works, but not as it should) or FAIL (it does not work),
what was found, and what to change. The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from sfm_ros.cli.engine_options import add_engine_options, with_engine_options
from sfm_ros.cli.program import program_parser
from sfm_ros.config import SfmConfig, load_config
from sfm_ros.doctor.bag import count_messages
from sfm_ros.doctor.examine import examine_bag
from sfm_ros.doctor.finding import Finding, Level, as_json, as_text, fail, has_failed
from sfm_ros.doctor.middleware import check_domain
from sfm_ros.errors import SfmRosError, without_ros
from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.safety.own_process import own_process
from sfm_ros.safety.streams import flush_output


def main(args: list[str] | None = None) -> int:
    """Run the checks; 0 if none failed, 1 if one did, 130 if interrupted."""
    if args is None:
        own_process("sfm_doctor")
    arguments = sys.argv if args is None else ["sfm_doctor", *args]
    own, ros_arguments = _split(arguments[1:])
    options = _parse(own)
    try:
        config = _configuration(options)
        if options.bag is not None:
            findings = _examine_bag(options, config)
        else:
            findings = _examine_system(options, config, ros_arguments)
    except SfmRosError as error:
        findings = [fail("input", str(error), "name another one")]
    except KeyboardInterrupt:
        return INTERRUPTED
    subject = str(options.bag) if options.bag is not None else "the running system"
    print(as_json(subject, findings) if options.json else as_text(findings))
    flush_output()
    return int(has_failed(findings))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and those from --ros-args on."""
    at = arguments.index("--ros-args") if "--ros-args" in arguments else len(arguments)
    return arguments[:at], arguments[at:]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = program_parser(__doc__, "sfm_doctor")
    add = parser.add_argument
    add("--bag", type=Path, help="examine this bag instead of the system")
    add("--image-topic", metavar="TOPIC", type=_name, help="this camera; default: all")
    add("--camera-info-topic", metavar="TOPIC", type=_name, help="default: beside the images")
    add("--node", metavar="NAME", type=_name, help="this odometry node, such as /sfm_node")
    add("--seconds", type=float, default=4.0, help="time to observe (default: %(default)s)")
    add("--config", type=Path, help="YAML as config/sfm.yaml")
    add_engine_options(parser)
    add("--no-engine", action="store_true", help="do not load the networks")
    add("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _configuration(options: argparse.Namespace) -> SfmConfig:
    config = SfmConfig() if options.config is None else load_config(options.config)
    return replace(config, model=with_engine_options(config.model, options))


def _examine_bag(options: argparse.Namespace, config: SfmConfig) -> list[Finding]:
    from tqdm import tqdm

    total = count_messages(options.bag, options.image_topic)
    with tqdm(total=total, desc="reading", unit="message", disable=None, leave=False) as bar:
        return examine_bag(
            options.bag, config, options.image_topic, not options.no_engine, lambda: bar.update()
        )


def _examine_system(
    options: argparse.Namespace, config: SfmConfig, ros_arguments: list[str]
) -> list[Finding]:
    try:
        from sfm_ros.ros.doctor.system import SystemOptions, examine_system
        from sfm_ros.ros.process.refusals import RefusalError
    except ImportError as error:
        return [fail("ros", without_ros(error), "a bag needs no ROS: --bag PATH")]
    domain = check_domain(os.environ)
    if domain.level is Level.FAIL:  # the middleware would end this process
        return [domain]
    system = SystemOptions(
        image_topic=options.image_topic,
        camera_info_topic=options.camera_info_topic,
        node=options.node,
        seconds=options.seconds,
        config=config,
        ask_node=config == SfmConfig(),
        load_engine=not options.no_engine,
    )
    try:
        return examine_system(system, ros_arguments, _report)
    except RefusalError as error:
        return [fail("ros", error.reason, error.advice or "correct the name or the argument")]


def _report(text: str) -> None:
    print(f"sfm_doctor: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
