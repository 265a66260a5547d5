"""The configuration as ROS parameters: declared from the dataclasses, read back into them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from sfm_ros.config import SfmConfig, config_from_dict, config_to_dict, iter_fields, refuse_unknown
from sfm_ros.errors import ConfigError, printable
from sfm_ros.ros.node.rate_limit import BurstLimit
from sfm_ros.ros.node.trajectory_file import TrajectoryFile

_MOST_CHANGES = 300
"""Per minute, or at once; each one is published to everybody on /parameter_events."""
_FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class Parameters:
    """The options of ``sfm_ros.config`` as parameters of a node.

    Live options follow ``ros2 param set``. A value that is not valid is refused with the reason.
    ``config`` is replaced as a whole, so that a reader sees all of a change or none of it.
    ``trajectory_file`` is fixed at the start: a live change moves it only within its folder.

    Attributes:
        config: the options now.
        trajectory_file: where ~/save_trajectory writes.
        refused: how many changes were refused because there were too many.

    Args:
        node: a node whose parameters come from a file, a launch file or the command line.
        defaults: values of parameters that are not given.

    Raises:
        ConfigError: a parameter is unknown, of a wrong type, or out of its range.
    """

    def __init__(self, node: Node, defaults: SfmConfig | None = None) -> None:
        self._names = {name for name, _, _ in iter_fields(defaults)}
        _refuse_unknown(node, self._names)
        given = [
            (name, _declare(node, name, option, default))
            for name, option, default in iter_fields(defaults)
        ]
        self.config = _with_values(defaults or SfmConfig(), given)
        self.trajectory_file = TrajectoryFile(self.config.node)
        self.refused = 0
        self._changes = BurstLimit(_MOST_CHANGES)
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        if not self._changes.admits():
            self.refused += 1
            return SetParametersResult(
                successful=False,
                reason=f"more than {_MOST_CHANGES} changes within a minute, expected fewer",
            )
        ours = [(p.name, p.value) for p in parameters if p.name in self._names]
        try:
            config = _with_values(self.config, ours)
            self.trajectory_file.check(config.node.trajectory_file)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=printable(error))
        self.config = config
        return SetParametersResult(successful=True)


def _with_values(config: SfmConfig, values: Iterable[tuple[str, Any]]) -> SfmConfig:
    """A configuration in which some options, as ``block.key`` and value, are replaced."""
    blocks = config_to_dict(config)
    for name, value in values:
        block, key = name.split(".")
        blocks[block][key] = value
    return config_from_dict(blocks)


def _declare(node: Node, name: str, option: dataclasses.Field, default: Any) -> Any:
    try:
        return node.declare_parameter(name, default, descriptor(option)).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigError(f"parameter '{name}': {error}") from error


def descriptor(option: dataclasses.Field) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows for an option."""
    choices = option.metadata["choices"]
    result = ParameterDescriptor(
        description=option.metadata["description"],
        additional_constraints=f"one of: {', '.join(choices)}" if choices else "",
        read_only=not option.metadata["live"],
        # A static type would refuse YAML's 70 for 70.0. config_from_dict converts such a value and
        # refuses every other type with the option's name, what was found and what was expected.
        dynamic_typing=True,
    )
    minimum, maximum = option.metadata["minimum"], option.metadata["maximum"]
    if minimum is None and maximum is None:
        return result
    if isinstance(option.default, int):
        result.integer_range = [
            IntegerRange(
                from_value=-(2**63) if minimum is None else int(minimum),
                to_value=2**63 - 1 if maximum is None else int(maximum),
            )
        ]
    else:
        result.floating_point_range = [
            FloatingPointRange(
                from_value=-sys.float_info.max if minimum is None else float(minimum),
                to_value=sys.float_info.max if maximum is None else float(maximum),
            )
        ]
    return result


def _refuse_unknown(node: Node, known: set[str]) -> None:
    """Refuse misspelled parameters, which ROS would ignore silently in favor of the defaults.

    The overrides are read from a private attribute. The public way to see those that are not
    declared is to let the node declare all of them on its own; it then accepts a wrong type for
    use_sim_time, and every option would have to be undeclared and declared again.
    """
    overrides = getattr(node, "_parameter_overrides", {})
    ours = [name for name in overrides if not name.startswith(_FOREIGN)]
    refuse_unknown(ours, known, "parameter")
