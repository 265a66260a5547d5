"""Every kind of collapse, provoked: reported while the training runs, once, with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor
from training_runs import arguments

from training import train
from training.batch import Batch, ModelOutput
from training.config import NetworkConfig
from training.fit import alarm
from training.fit.alarm import AlarmMonitor, collapse_indicators
from training.fit.run_log import HISTORY, read_history

HEALTHY = {
    "disparity_spread": 0.5,
    "saturated": 0.0,
    "parallax_px": 3.0,
    "motion_spread": 0.4,
    "gradient_norm": 1.0,
}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check after some ten steps, so that a test need not train for minutes."""
    monkeypatch.setattr(alarm, "GRACE_STEPS", 8)
    monkeypatch.setattr(alarm, "LOSS_STEPS", 4)
    monkeypatch.setattr(alarm, "FALL_CHECKED_FROM", 10)


def alarms_of_a_run(
    recipe: Path, out: Path, capsys: pytest.CaptureFixture[str], *changes: str
) -> list[str]:
    """Alarms printed during a run without validation."""
    common = ("optim.steps=14", "run.checkpoint_every=100", "data.validation_ratio=0")
    more = [text for change in (*common, *changes) for text in ("--set", change)]
    assert train.main(arguments(recipe, out, *more)) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "ALARM" in line]


def test_tenfold_learning_rate_saturates_depth(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None
) -> None:
    """The published failure: 2e-3 instead of 2e-4, the loss converges, the depth is blank."""
    found = alarms_of_a_run(
        recipe,
        tmp_path / "run",
        capsys,
        "network.depth=dispnet",
        "optim.learning_rate=2e-3",
        "objective.auto_mask=false",
        "objective.depth_supervision_weight=0",
    )
    depth = [line for line in found if "the depth is" in line]
    assert len(depth) == 1
    assert "saturated" in depth[0] or "flat" in depth[0]
    assert "optim.learning_rate" in depth[0]


def test_zero_motion_raises_alarm(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None
) -> None:
    still = ("network.translation_factor=0", "network.rotation_factor=0")
    found = alarms_of_a_run(recipe, tmp_path / "run", capsys, *still)
    motion = [line for line in found if "the motion vanishes" in line]
    assert len(motion) == 1 and "network.translation_factor" in motion[0]
    steps, values = read_history(tmp_path / "run" / HISTORY)["alarm/no_motion"]
    assert 8 <= steps[0] < 14 and values.tolist() == [1.0]


def test_dead_pose_network_raises_alarm(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    soon: None,
) -> None:
    original = train.build_model

    def dead(*args: object) -> torch.nn.Module:
        model = original(*args)  # type: ignore[arg-type]
        for conv in model.pose_net.convs:
            torch.nn.init.zeros_(conv[0].weight)
        torch.nn.init.ones_(model.pose_net.predict.bias)
        return model

    monkeypatch.setattr(train, "build_model", dead)
    found = alarms_of_a_run(recipe, tmp_path / "run", capsys, "network.pose=stacked")
    motion = [line for line in found if "the same motion for every window" in line]
    assert len(motion) == 1 and "network.translation_factor" in motion[0]


def test_constant_and_exploding_loss_raise_alarms(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None
) -> None:
    found = alarms_of_a_run(recipe, tmp_path / "still", capsys, "optim.learning_rate=0")
    fall = [line for line in found if "the loss has fallen by" in line]
    assert len(fall) == 1 and "optim.learning_rate" in fall[0]
    found = alarms_of_a_run(
        recipe,
        tmp_path / "wild",
        capsys,
        "optim.learning_rate=0.1",
        "objective.pose_supervision_weight=1",
        "network.translation_factor=1",
    )
    wild = [line for line in found if "the loss explodes" in line]
    assert len(wild) == 1 and "optim.gradient_clip" in wild[0]


# Indicators


def make_output(disparity: Tensor, T: Tensor) -> tuple[Batch, ModelOutput]:
    batch, height, width = disparity.shape
    rgb = torch.zeros(batch, 3, 3, height, width)
    K = torch.tensor([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]).repeat(batch, 1, 1)
    output = ModelOutput(
        depths_b1hw=[1 / disparity[:, None]],
        disparities_b1hw=[disparity[:, None]],
        T_source_target_bs44=T,
        mask_logits_bshw=[],
    )
    return Batch(rgb_bn3hw=rgb, rgb_clean_bn3hw=rgb, K_b33=K), output


def motions(*distances: float) -> Tensor:
    """Windows of two sources, one before and one behind the target."""
    T = torch.eye(4).repeat(len(distances), 2, 1, 1)
    T[:, 0, 2, 3], T[:, 1, 2, 3] = torch.tensor(distances), -torch.tensor(distances)
    return T


def indicators(disparity: Tensor, T: Tensor) -> dict[str, float]:
    found = collapse_indicators(*make_output(disparity, T), NetworkConfig())
    return {name: float(value) for name, value in found.items()}


def test_collapse_indicators() -> None:
    config = NetworkConfig()
    far = torch.full((2, 4, 6), config.disparity_beta + 1e-4)
    near = torch.full((2, 4, 6), config.disparity_alpha + config.disparity_beta - 1e-4)
    half = torch.full((2, 4, 6), 0.5)
    half[:, :2] = far[:, :2]
    assert indicators(far, motions(1, 2))["saturated"] == -1.0
    assert indicators(near, motions(1, 2))["saturated"] == 1.0
    assert indicators(half, motions(1, 2))["saturated"] == pytest.approx(-0.5)
    quarter = torch.full((2, 4, 6), 0.25)
    assert indicators(quarter, motions(1, 3))["parallax_px"] == pytest.approx(100 * 2 * 0.25)
    # Forward to one source and backward to the other is one motion, the same for every window.
    assert indicators(quarter, motions(2, 2))["motion_spread"] == 0.0
    assert indicators(quarter, motions(1, 3))["motion_spread"] == pytest.approx(0.5)
    assert (
        not indicators(quarter[:1], motions(2))["motion_spread"] == 0.0
    )  # undefined for one window


# Monitor


def alarms_of(losses: Callable[[int], float], steps: int = 2000, fresh: bool = True) -> list[str]:
    monitor, causes = AlarmMonitor(steps, fresh), []
    for step in range(1, steps + 1):
        monitor.add_loss(torch.tensor(losses(step)))
        if step % 20 == 0:
            causes += list(monitor.check(step, HEALTHY))
    return causes


def test_healthy_run_raises_no_alarm() -> None:
    noise = torch.rand(2001, generator=torch.Generator().manual_seed(0)).tolist()
    assert alarms_of(lambda step: (0.6 + 0.4 * 0.998**step) * (0.7 + 0.6 * noise[step])) == []


def test_loss_alarms_use_the_mean_and_are_raised_once() -> None:
    noise = torch.rand(2001, generator=torch.Generator().manual_seed(0)).tolist()
    assert alarms_of(lambda step: 0.7 + 0.6 * noise[step]) == ["no fall"]
    # The loss of networks that were trained before need not fall.
    assert alarms_of(lambda step: 0.7 + 0.6 * noise[step], fresh=False) == []
    assert alarms_of(lambda step: 0.5 if 50 < step < 1500 else 1.0) == ["exploding loss"]
    assert alarms_of(lambda step: 1.0 if step < 3 else 1000.0) == ["exploding loss", "no fall"]


def test_single_batches_and_first_steps_raise_no_alarm() -> None:
    monitor, bad = AlarmMonitor(2000), {**HEALTHY, "disparity_spread": 0.01, "motion_spread": 1e-6}
    assert all(not monitor.check(step, bad) for step in range(20, 100, 20))
    monitor = AlarmMonitor(2000)
    assert all(not monitor.check(s, bad if s % 100 == 0 else HEALTHY) for s in range(20, 2000, 20))


def test_resumed_monitor_repeats_no_alarm() -> None:
    monitor, bad = AlarmMonitor(2000), {**HEALTHY, "disparity_spread": 0.01}
    for step in range(1, 201):
        monitor.add_loss(torch.tensor(1.0 / step))
    raised = [cause for step in range(100, 220, 20) for cause in monitor.check(step, bad)]
    assert raised == ["flat depth"]
    resumed = AlarmMonitor(2000)
    resumed.load_state_dict(monitor.state_dict(), torch.device("cpu"))
    assert resumed.state_dict() == monitor.state_dict()
    assert not resumed.check(220, bad)
    assert list(resumed.check(240, {**bad, "saturated": -0.95})) == []


def test_state_of_older_checkpoints_loads() -> None:
    state = AlarmMonitor(2000).state_dict()
    older = {"said": ["flat depth"], "looks": [HEALTHY]}
    older |= {key: value for key, value in state.items() if key not in ("raised", "samples")}
    monitor = AlarmMonitor(2000)
    monitor.load_state_dict(older, torch.device("cpu"))
    assert monitor.state_dict() == {**state, "raised": ["flat depth"], "samples": [HEALTHY]}
