"""The training loop: one step, and when to validate, log and save."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sfm_ros.errors import SfmRosError
from training.average import WeightAverage
from training.batch import Batch, ModelOutput
from training.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    check_same_run,
    load_checkpoint,
    save_checkpoint,
)
from training.config import TrainConfig, to_dict
from training.data.batcher import Batcher
from training.data.prefetch import BatchStream
from training.networks.sfm_model import SfmModel
from training.run_log import RunLog, colour_depth, panel
from training.schedule import rate_factor
from training.validation import Validation, rebuilt_target, validate

VALIDATION_WINDOWS = 64
Objective = Callable[[Batch, ModelOutput], tuple[Tensor, dict[str, Tensor]]]


class TrainingError(SfmRosError):
    """Training cannot go on."""


class Trainer:
    """Fits a model and keeps ``last.pt`` and ``best.pt`` in ``out``.

    Args:
        model: the networks, on any device.
        objective: maps batch and output to the total loss and its named parts.
        batcher: batches as a function of the step.
        out: folder of the run.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: SfmModel,
        objective: Objective,
        batcher: Batcher,
        out: Path,
        device: torch.device,
    ) -> None:
        self.config, self.out, self.device = config, out, device
        self.model = model.to(device)
        self._objective, self._batcher = objective, batcher
        optim = config.optim
        groups = self.model.parameter_groups(optim.learning_rate, optim.encoder_learning_rate)
        self._optimizer = torch.optim.Adam(groups, betas=(optim.beta1, 0.999))
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        self._average = (
            WeightAverage(self.model, optim.weight_average) if optim.weight_average else None
        )
        self.step_count = 0
        self.best: float | None = None
        self.validation: Validation | None = None
        self._stop = False

    def request_stop(self) -> None:
        """Finish the step in progress, save, and return from ``run``."""
        self._stop = True

    def resume(self) -> None:
        """Go on from ``last.pt``.

        Raises:
            CheckpointError: there is none, it is damaged, or its configuration is another one.
        """
        path = self.out / LAST
        contents = load_checkpoint(path)
        check_same_run(path, contents, self.config)
        self.model.load_state_dict(contents["model"])
        self._optimizer.load_state_dict(contents["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(contents["average"], updates=contents["step"])
        torch.set_rng_state(contents["torch_rng"])
        self.step_count, self.best = contents["step"], contents["best"]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimisation step; returns the loss and its parts, detached.

        Raises:
            TrainingError: the loss or its gradient is not finite; the weights stay as they were.
        """
        optim = self.config.optim
        factor = rate_factor(optim, self.step_count)
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=optim.precision == "bf16"
        ):
            output = self.model(batch.rgb_bn3hw)
        total, parts = self._objective(batch, output)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        limit = optim.gradient_clip or float("inf")
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not (torch.isfinite(total) and torch.isfinite(gradient)):
            raise TrainingError(self._explain_not_finite(parts, gradient))
        self._optimizer.step()
        self.step_count += 1
        if self._average is not None:
            self._average.update(self.model)
        return {**parts, "total": total.detach(), "gradient_norm": gradient.detach()}

    def run(self) -> bool:
        """Train to the last step; False if it was asked to stop before."""
        run, steps = self.config.run, self.config.optim.steps
        log = RunLog(self.out, self.step_count)
        self.model.train()
        try:
            if self.step_count == 0:
                self._validate(log)
            batches = BatchStream(self._batcher, self.step_count, steps, self.device)
            with (
                batches,
                tqdm(total=steps, initial=self.step_count, unit="step", disable=None) as progress,
            ):
                began = time.perf_counter()
                for batch in batches:
                    parts = self.step(batch)
                    progress.update()
                    if self._due(run.scalars_every):
                        began = self._log_step(log, progress, parts, began)
                    if self._due(run.images_every):
                        self._log_panel(log, batch)
                    if self._due(run.validate_every):
                        self._validate(log)
                    if self._due(run.checkpoint_every) and self.step_count < steps:
                        self._try_save(log)
                    if self._stop:
                        break
            self.save(LAST)
        finally:
            log.close()
        return self.step_count >= steps

    def save(self, name: str) -> None:
        """Write a checkpoint; raises CheckpointError where it cannot be written."""
        save_checkpoint(self.out / name, self._contents(with_optimizer=name == LAST))

    def _contents(self, with_optimizer: bool) -> dict[str, Any]:
        return {
            "config": to_dict(self.config),
            "model": self.model.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "optimizer": self._optimizer.state_dict() if with_optimizer else None,
            "step": self.step_count,
            "best": self.best,
            "torch_rng": torch.get_rng_state(),
        }

    def _due(self, every: int) -> bool:
        return self.step_count % every == 0 or self.step_count == self.config.optim.steps

    def _try_save(self, log: RunLog) -> None:
        """A save on the way that fails is said; the next one, or the last, may succeed."""
        try:
            self.save(LAST)
        except CheckpointError as error:
            log.say(f"warning: {error}; training goes on")

    def _log_step(
        self, log: RunLog, progress: tqdm, parts: dict[str, Tensor], began: float
    ) -> float:
        now = time.perf_counter()
        figures = {f"loss/{name}": float(value) for name, value in parts.items()}
        figures["rate/learning_rate"] = self._optimizer.param_groups[0]["lr"]
        log.scalars(self.step_count, figures)
        every = self.config.run.scalars_every
        log.speed(self.step_count, every * self.config.optim.batch_size / (now - began))
        progress.set_postfix(loss=f"{figures['loss/total']:.4f}", refresh=False)
        return now

    def _log_panel(self, log: RunLog, batch: Batch) -> None:
        """Target, warped source, difference, mask (where there is one), depth of window 0."""
        first = _first_window(batch)
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            output = self.model(first.rgb_bn3hw)
            target, _, warped, valid = rebuilt_target(first, output)
        self.model.train(was_training)
        image = warped[0, -1] * valid[0, -1]
        rows = [target[0], image, (image - target[0]).abs().mean(0, keepdim=True)]
        if output.mask_logits_bshw:
            rows.append(output.mask_logits_bshw[0][0, -1:].float().sigmoid())
        rows.append(colour_depth(output.depths_b1hw[0][0]))
        log.image(self.step_count, "panel", panel(rows))

    def _validate(self, log: RunLog) -> None:
        windows = self._batcher.validation_windows(VALIDATION_WINDOWS)
        if not windows:
            return
        kept = None if self._average is None else self._average.swap_in(self.model)
        try:
            size = self.config.optim.batch_size
            self.validation = validate(self.model, self._batcher, windows, size, self.device)
        finally:
            if kept is not None:
                self.model.load_state_dict(kept)
        result = self.validation
        log.scalars(self.step_count, result.figures())
        log.say(f"step {self.step_count}: {result.line()}")
        for alarm in result.alarms() if self.step_count else []:
            log.say(f"warning: {alarm}")
        if self.step_count and (self.best is None or result.score < self.best):
            self.best = result.score
            try:
                self.save(BEST)
            except CheckpointError as error:
                log.say(f"warning: {error}; training goes on")

    def _explain_not_finite(self, parts: dict[str, Tensor], gradient: Tensor) -> str:
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in parts.items())
        kept = self.out / LAST
        return (
            f"the loss or its gradient is not finite at step {self.step_count} ({values}, "
            f"gradient {float(gradient):.4g}); lower "
            "optim.learning_rate or set optim.gradient_clip. "
            + (
                f"The last checkpoint is kept: {kept}"
                if kept.exists()
                else "Nothing was saved yet"
            )
        )


def _first_window(batch: Batch) -> Batch:
    return Batch(
        rgb_bn3hw=batch.rgb_bn3hw[:1],
        rgb_clean_bn3hw=batch.rgb_clean_bn3hw[:1],
        K_b33=batch.K_b33[:1],
    )
