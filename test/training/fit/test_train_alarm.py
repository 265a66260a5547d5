"""Every way to collapse, made to happen: said while the training runs, once, with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_runs import arguments

from training import train
from training.batch import Batch, ModelOutput
from training.config import NetworkConfig
from training.fit import alarm
from training.fit.alarm import Watch, vital_signs
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
    """Judge after some ten steps, so that a test need not train for minutes."""
    monkeypatch.setattr(alarm, "GRACE", 8)
    monkeypatch.setattr(alarm, "LOSS_STEPS", 4)
    monkeypatch.setattr(alarm, "FALL_JUDGED_FROM", 10)


def alarms_of_a_run(
    recipe: Path, out: Path, capsys: pytest.CaptureFixture[str], *changes: str
) -> list[str]:
    """What is said live: there is nothing to validate on."""
    steady = ("optim.steps=14", "run.checkpoint_every=100", "data.validation_ratio=0")
    more = [text for change in (*steady, *changes) for text in ("--set", change)]
    assert train.main(arguments(recipe, out, *more)) == 0
    return [line for line in capsys.readouterr().err.splitlines() if "ALARM" in line]


def test_a_rate_that_is_ten_times_too_high_saturates_the_depth(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None
) -> None:
    """The published failure: 2e-3 in place of 2e-4, the loss converges, the depth is blank."""
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


def test_a_motion_of_zero(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], soon: None
) -> None:
    still = ("network.translation_factor=0", "network.rotation_factor=0")
    found = alarms_of_a_run(recipe, tmp_path / "run", capsys, *still)
    motion = [line for line in found if "the motion vanishes" in line]
    assert len(motion) == 1 and "network.translation_factor" in motion[0]
    steps, values = read_history(tmp_path / "run" / HISTORY)["alarm/no_motion"]
    assert 8 <= steps[0] < 14 and values.tolist() == [1.0]


def test_a_dead_pose_network(
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


def test_a_loss_that_does_not_fall_and_one_that_explodes(
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


# The signs


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


def motions(*ways: float) -> Tensor:
    """Windows of two sources, one before and one behind the target."""
    T = torch.eye(4).repeat(len(ways), 2, 1, 1)
    T[:, 0, 2, 3], T[:, 1, 2, 3] = torch.tensor(ways), -torch.tensor(ways)
    return T


def signs(disparity: Tensor, T: Tensor) -> dict[str, float]:
    return {
        k: float(v) for k, v in vital_signs(*make_output(disparity, T), NetworkConfig()).items()
    }


def test_the_signs_are_what_they_are_called() -> None:
    config = NetworkConfig()
    far = torch.full((2, 4, 6), config.disparity_beta + 1e-4)
    near = torch.full((2, 4, 6), config.disparity_alpha + config.disparity_beta - 1e-4)
    half = torch.full((2, 4, 6), 0.5)
    half[:, :2] = far[:, :2]
    assert signs(far, motions(1, 2))["saturated"] == -1.0
    assert signs(near, motions(1, 2))["saturated"] == 1.0
    assert signs(half, motions(1, 2))["saturated"] == pytest.approx(-0.5)
    quarter = torch.full((2, 4, 6), 0.25)
    assert signs(quarter, motions(1, 3))["parallax_px"] == pytest.approx(100 * 2 * 0.25)
    # Forwards to one source and backwards to the other is one motion, said of every window.
    assert signs(quarter, motions(2, 2))["motion_spread"] == 0.0
    assert signs(quarter, motions(1, 3))["motion_spread"] == pytest.approx(0.5)
    assert not signs(quarter[:1], motions(2))["motion_spread"] == 0.0  # one window tells nothing


# The watch


def watch_of(losses: Callable[[int], float], steps: int = 2000, fresh: bool = True) -> list[str]:
    watch, causes = Watch(steps, fresh), []
    for step in range(1, steps + 1):
        watch.add(torch.tensor(losses(step)))
        if step % 20 == 0:
            causes += list(watch.look(step, HEALTHY))
    return causes


def test_a_healthy_run_is_left_alone() -> None:
    noise = torch.rand(2001, generator=torch.Generator().manual_seed(0)).tolist()
    assert watch_of(lambda step: (0.6 + 0.4 * 0.998**step) * (0.7 + 0.6 * noise[step])) == []


def test_a_loss_is_judged_by_its_mean_and_once() -> None:
    noise = torch.rand(2001, generator=torch.Generator().manual_seed(0)).tolist()
    assert watch_of(lambda step: 0.7 + 0.6 * noise[step]) == ["no fall"]
    # Networks that were trained before have no fall to show.
    assert watch_of(lambda step: 0.7 + 0.6 * noise[step], fresh=False) == []
    assert watch_of(lambda step: 0.5 if 50 < step < 1500 else 1.0) == ["exploding loss"]
    assert watch_of(lambda step: 1.0 if step < 3 else 1000.0) == ["exploding loss", "no fall"]


def test_one_bad_batch_is_no_alarm_and_the_first_steps_are_none() -> None:
    watch, bad = Watch(2000), {**HEALTHY, "disparity_spread": 0.01, "motion_spread": 1e-6}
    assert all(not watch.look(step, bad) for step in range(20, 100, 20))
    watch = Watch(2000)
    assert all(not watch.look(s, bad if s % 100 == 0 else HEALTHY) for s in range(20, 2000, 20))


def test_a_resumed_watch_says_nothing_twice() -> None:
    watch, bad = Watch(2000), {**HEALTHY, "disparity_spread": 0.01}
    for step in range(1, 201):
        watch.add(torch.tensor(1.0 / step))
    said = [cause for step in range(100, 220, 20) for cause in watch.look(step, bad)]
    assert said == ["flat depth"]
    resumed = Watch(2000)
    resumed.load_state_dict(watch.state_dict(), torch.device("cpu"))
    assert resumed.state_dict() == watch.state_dict()
    assert not resumed.look(220, bad)
    assert list(resumed.look(240, {**bad, "saturated": -0.95})) == []
