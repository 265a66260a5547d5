"""Arguments are refused before anything starts: a program would fail late, beside the others."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import ModelError, OutputError
from sfm_ros.ros.launching.arguments import given_path, refused
from sfm_ros.ros.launching.node_parameters import configured
from sfm_ros.ros.launching.programs import camera_pose

_NAMESPACE = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*/?")


def check(given: Mapping[str, str]) -> None:
    """Check the arguments that both launch files have.

    Raises:
        SfmRosError: names the argument, what was found and what is expected.
    """
    if given["namespace"].strip("/") and not _NAMESPACE.fullmatch(given["namespace"]):
        raise refused("namespace", given["namespace"], "expected names of letters, digits and _")
    configured(given)
    camera_pose(given)
    if given["model"]:
        try:
            resolve_bundle(given["model"])
        except ModelError as error:
            raise refused("model", given["model"], str(error)) from error
    if given["record"] and os.path.lexists(given_path(given, "record")):
        raise refused("record", given["record"], "it exists; name a new folder")


def check_evaluation(given: Mapping[str, str]) -> None:
    """Check that ``evaluate`` is a folder that the scores can be written to.

    Raises:
        SfmRosError: it holds something else, or cannot be written.
    """
    if not given["evaluate"]:
        return
    # Scoring is imported by nothing else here, and takes a second.
    from sfm_ros.evaluation.session import PROGRAM
    from sfm_ros.outputs.folder import OutputFolder

    try:
        inputs = [Path(given_path(given, "bag"))]
        with OutputFolder(Path(given_path(given, "evaluate")), PROGRAM, inputs):
            pass
    except OutputError as error:
        raise refused("evaluate", given["evaluate"], str(error)) from error
