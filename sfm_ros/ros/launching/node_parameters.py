"""The node's parameters: what the user's parameter file has, and what arguments add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

from sfm_ros.config import iter_fields
from sfm_ros.errors import ConfigError
from sfm_ros.options import read_yaml
from sfm_ros.ros.launching.arguments import INVERTED, given_path, is_true, refused

PACKAGE = "sfm_ros"
NODE_NAME = "sfm_node"
PARAMETERS = {
    "model": "model.bundle",
    "engine": "model.engine",
    "precision": "model.precision",
    "base_frame": "node.base_frame",
    "odom_frame": "node.odom_frame",
}
"""Arguments that are values of a parameter."""
_SWITCHES = {"use_sim_time": "use_sim_time", "compressed": "node.compressed"}
"""The same of arguments that are true or false; a launch file may lack some."""
_TF, _INVERT_TF = "node.publish_tf", "node.invert_tf"
_BLOCK = "ros__parameters"


def package_file(name: str) -> str:
    """Path of a file in the package's share folder."""
    return f"{get_package_share_directory(PACKAGE)}/{name}"


def scope(given: Mapping[str, str]) -> str:
    """The namespace as it stands before a name: ``/front``, or empty."""
    namespace = given["namespace"].strip("/")
    return f"/{namespace}" if namespace else ""


def node_path(given: Mapping[str, str]) -> str:
    """Full name of the node."""
    return f"{scope(given)}/{NODE_NAME}"


def parameter_file(given: Mapping[str, str]) -> str:
    """The user's parameter file, else the package's."""
    return given_path(given, "config") or package_file("config/sfm.yaml")


def given_parameters(given: Mapping[str, str]) -> dict[str, Any]:
    """Parameters that arguments stand for, of the arguments that the user gave."""
    values: dict[str, Any] = {
        parameter: given[argument] for argument, parameter in PARAMETERS.items() if given[argument]
    }
    values |= {
        parameter: is_true(given[argument])
        for argument, parameter in _SWITCHES.items()
        if given.get(argument)
    }
    if given["publish_tf"]:
        is_inverted = given["publish_tf"] == INVERTED
        values[_TF] = is_inverted or is_true(given["publish_tf"])
        if values[_TF]:
            values[_INVERT_TF] = is_inverted
    return values


def effective(given: Mapping[str, str], parameter: str) -> Any:
    """The value of one of the node's parameters: as given, else the file's, else the default.

    None of one that is not the node's own and not set, as ``use_sim_time`` may be.
    """
    defaults = {name: default for name, _, default in iter_fields()}
    return {**defaults, **configured(given), **given_parameters(given)}.get(parameter)


def configured(given: Mapping[str, str]) -> dict[str, Any]:
    """What the parameter file sets for the node, by full names of parameters.

    Raises:
        SfmRosError: there is no such file, it is no parameter file, or has no block for the node.
    """
    path, node = Path(parameter_file(given)), node_path(given)
    try:
        blocks = list(_blocks(read_yaml(path)))
    except ConfigError as error:
        raise refused("config", given["config"], str(error)) from error
    if not any(_is_for(pattern, node) for pattern, _ in blocks):
        found = ", ".join(pattern for pattern, _ in blocks) or f"no block of {_BLOCK}"
        raise refused(
            "config",
            given["config"],
            f"it has parameters of {found}, expected some of {node} or of /**",
        )
    values: dict[str, Any] = {}
    for pattern, parameters in sorted(blocks, key=lambda block: "*" not in block[0]):
        if _is_for(pattern, node):  # those of this node alone come last
            values |= dict(_flat(parameters))
    return values


def _blocks(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Mapping]]:
    """(node or pattern, parameters) of a parameter file."""
    for key, value in values.items():
        if key == _BLOCK and isinstance(value, Mapping):
            yield prefix, value
        elif isinstance(value, Mapping):
            yield from _blocks(value, f"{prefix}/{str(key).strip('/')}")


def _is_for(pattern: str, node: str) -> bool:
    return fnmatchcase(node, pattern)


def _flat(parameters: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
