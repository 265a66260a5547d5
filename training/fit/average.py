"""An exponential moving average of the weights: single steps scatter, their mean does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averages every floating-point entry of a model's state, running statistics included.

    Args:
        decay: share of the average kept in a step. While the run is young it is smaller, so that
            the initial weights do not linger: min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._updates = decay, 0
        self._state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model as it is now."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        mine: list[Tensor] = []
        theirs: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                mine.append(self._state[name])
                theirs.append(value)
            else:
                self._state[name].copy_(value)
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)

    def swap_in(self, model: nn.Module) -> dict[str, Tensor]:
        """Put the average into the model; returns what was there, to be loaded back."""
        kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self._state)
        return kept

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged state, loadable into the model itself."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average after so many updates."""
        for name, value in state.items():
            self._state[name].copy_(value)
        self._updates = updates
