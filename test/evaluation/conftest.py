"""A small street and networks whose output is constant, for the tests of whole evaluations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import tilted_wall
from small_bags import ESTIMATED_STEP_M, SmallSequence, pose

from sfm_ros.config import ModelConfig, OdometryConfig, SfmConfig
from sfm_ros.evaluation.runs.ground_truth import FrameGroundTruth
from sfm_ros.evaluation.runs.inputs import EvaluationInput


@pytest.fixture
def config(make_bundle: Callable[..., Path]) -> SfmConfig:
    """Networks alone, which estimate half of each ground-truth step, before a tilted wall."""
    depth = tilted_wall()
    model = ModelConfig(bundle=str(make_bundle(depth, pose(1, ESTIMATED_STEP_M))))
    return SfmConfig(model=model, odometry=OdometryConfig(mode="network"))


@pytest.fixture
def frames() -> EvaluationInput:
    source = FrameGroundTruth(SmallSequence())
    return EvaluationInput(name="recordings/street", source=source, ground_truth=source)
