"""Learning rates, Adam and the moving average of the weights."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import nn

from training.config import OptimConfig
from training.fit.optimizer import WeightAverage, load_optimizer, rate_factor


def test_step_schedule_gives_published_rates() -> None:
    optim = OptimConfig(learning_rate=2e-4, decay_every=25_000, decay_factor=0.65)
    rates = [2e-4 * rate_factor(optim, step) for step in range(0, 200_000, 25_000)]
    printed = [2.00e-4, 1.30e-4, 8.45e-5, 5.49e-5, 3.57e-5, 2.32e-5, 1.51e-5, 9.80e-6]
    assert rates == pytest.approx(printed, rel=2e-3)
    assert rate_factor(OptimConfig(), 10_000) == 1.0


def test_cosine_schedule_ends() -> None:
    optim = OptimConfig(schedule="cosine", steps=100)
    assert rate_factor(optim, 0) == 1.0
    assert rate_factor(optim, 50) == pytest.approx(0.51)
    assert rate_factor(optim, 100) == pytest.approx(0.02)


def test_average_follows_its_formula() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.5)
    expected = 1.0
    for step in range(20):
        with torch.no_grad():
            model.weight.fill_(step)
        model.state_dict()["num_batches_tracked"].fill_(step)
        average.update_parameters(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    state = average.module.state_dict()
    assert float(state["weight"]) == pytest.approx(expected, rel=1e-6)
    assert int(state["num_batches_tracked"]) == 19
    assert float(model.weight.detach()) == 19.0


def test_resumed_average_continues() -> None:
    first, resumed = (WeightAverage(nn.Linear(2, 2), decay=0.9) for _ in range(2))
    models = [nn.Linear(2, 2) for _ in range(4)]
    for model in models[:2]:
        first.update_parameters(model)
    resumed.module.load_state_dict(first.module.state_dict())
    resumed.resume_at(2)
    for average in (first, resumed):
        for model in models[2:]:
            average.update_parameters(model)
    assert torch.equal(first.module.weight, resumed.module.weight)


def test_state_of_the_fused_implementation_is_restored() -> None:
    """Version 0.1 trained with torch's fused Adam on a CPU."""
    weight = nn.Parameter(torch.randn(4, 3, 3, 3))
    saved = torch.optim.Adam([weight], lr=0.1, fused=True)
    resumed = torch.optim.Adam([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    saved.step()
    load_optimizer(resumed, saved.state_dict())
    assert [group["fused"] for group in resumed.param_groups] == [None]
    torch.testing.assert_close(resumed.state[weight]["exp_avg"], saved.state[weight]["exp_avg"])
    resumed.step()
    assert float(resumed.state[weight]["step"]) == 2.0
