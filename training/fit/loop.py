"""The training loop: one step, and when to validate, log and save."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from sfm_ros.errors import SfmRosError
from training.batch import Batch, ModelOutput
from training.config import TrainConfig, to_dict
from training.data.batcher import Batcher
from training.data.prefetch import BatchStream
from training.distributed import (
    DistributedContext,
    greatest,
    mean_over_processes,
    synchronize_batch_norm,
    world_size,
)
from training.fit.alarm import GRACE_STEPS, AlarmMonitor, collapse_indicators
from training.fit.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    check_same_run,
    load_checkpoint,
    restoring,
    save_checkpoint,
)
from training.fit.optimizer import WeightAverage, load_optimizer, rate_factor
from training.fit.panel import panel
from training.fit.run_log import RunLog
from training.fit.validation import Validation, validate
from training.networks.sfm_model import SfmModel

VALIDATION_WINDOWS = 64
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LossFunction = Callable[[Batch, ModelOutput], tuple[Tensor, dict[str, Tensor]]]


class TrainingError(SfmRosError):
    """Training cannot continue."""


class Trainer:
    """Fits a model and keeps ``last.pt`` and ``best.pt`` in ``out``.

    Of several processes each trains on its part of the batches; the first one logs, validates and
    saves.

    Args:
        model: the networks, on any device.
        objective: maps batch and output to the total loss and its named parts.
        batcher: batches as a function of the step.
        out: folder of the run.
        fresh: whether the networks are untrained.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: SfmModel,
        objective: LossFunction,
        batcher: Batcher,
        out: Path,
        device: torch.device,
        context: DistributedContext | None = None,
        fresh: bool = True,
    ) -> None:
        self.config, self.out, self.device = config, out, device
        self.context = context or DistributedContext()
        self.model = model.to(device)
        synchronize_batch_norm(self.model, device)
        self._forward = self._prepared_forward()
        self._objective, self._batcher = objective, batcher
        optim = config.optim
        groups = self.model.parameter_groups(optim.learning_rate, optim.encoder_learning_rate)
        self._optimizer = torch.optim.Adam(groups, betas=(optim.beta1, 0.999))
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        self._scaler = torch.amp.GradScaler(device.type, enabled=optim.precision == "fp16")
        decay = optim.weight_average
        self._average = WeightAverage(self.model, decay) if decay else None
        self._alarms = AlarmMonitor(optim.steps, fresh)
        self.step_count = 0
        self.best: float | None = None
        self.validation: Validation | None = None
        self._stop = False
        self._failure: CheckpointError | None = None

    def request_stop(self) -> None:
        """Finish the step in progress, save, and return from ``run``, in all processes."""
        self._stop = True

    def resume(self) -> None:
        """Continue from ``last.pt``; the number of processes may have changed.

        Raises:
            CheckpointError: it is missing or damaged, or its configuration differs.
        """
        path = self.out / LAST
        contents = load_checkpoint(path)
        check_same_run(path, contents, self.config)
        with restoring(path):
            self._restore(contents)

    def _restore(self, contents: dict[str, Any]) -> None:
        self.model.load_state_dict(contents["model"])
        load_optimizer(self._optimizer, contents["optimizer"])
        if self._average is not None:
            self._average.module.load_state_dict(contents["average"])
            self._average.resume_at(contents["step"])
        if contents.get("scaler"):
            self._scaler.load_state_dict(contents["scaler"])
        if contents.get("watch"):
            self._alarms.load_state_dict(contents["watch"], self.device)
        torch.set_rng_state(contents["torch_rng"])
        self.step_count, self.best = contents["step"], contents["best"]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimization step.

        Returns:
            The loss and its parts, detached; in the steps that are logged, of the batch of all
            processes and with the collapse indicators.

        Raises:
            TrainingError: the loss or its gradient is not finite; the weights are unchanged.
        """
        optim = self.config.optim
        factor = rate_factor(optim, self.step_count)
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(
            self.device.type, dtype=PRECISIONS[optim.precision], enabled=optim.precision != "fp32"
        ):
            output = self._forward(batch.rgb_bn3hw, batch.K_b33)
        loss, parts = self._objective(batch, output)
        total = mean_over_processes(loss)
        gradient = self._descend(loss, total, parts)
        self.step_count += 1
        if self._average is not None:
            self._average.update_parameters(self.model)
        self._alarms.add_loss(total)
        if self._due(self.config.run.scalars_every):
            parts = {name: mean_over_processes(value) for name, value in parts.items()}
            parts |= collapse_indicators(batch, output, self.config.network)
        return {**parts, "total": total, "gradient_norm": gradient}

    def run(self) -> bool:
        """Train to the last step; False if a stop was requested before.

        Raises:
            TrainingError: the loss is not finite.
            CheckpointError: a checkpoint cannot be written; the previous one is kept.
        """
        steps, first = self.config.optim.steps, self.context.first
        log = RunLog(self.out, self.step_count) if first else None
        self.model.train()
        try:
            if self.step_count == 0 and log:
                self._validate(log)
            batches = BatchStream(self._batcher, self.step_count, steps, self.device)
            bar = tqdm(
                total=steps, initial=self.step_count, unit="step", disable=None if first else True
            )
            with batches, bar as progress:
                clock = _Clock(batches)
                for batch in batches:
                    if self.step_count == 0 and log:
                        self._draw(log, batch)  # what the first steps change
                    figures = self.step(batch)
                    progress.update()
                    if log:
                        self._report(log, progress, clock, batch, figures)
                    if self._all_stop():
                        break
            if log and not self._failure:
                self.save(LAST)
        finally:
            if log:
                log.close()
        if self._failure:
            raise self._failure
        return self.step_count >= steps

    def save(self, name: str) -> None:
        """Write a checkpoint; raises CheckpointError if it cannot be written."""
        save_checkpoint(self.out / name, self._contents(with_optimizer=name == LAST))

    def _prepared_forward(self) -> Callable[[Tensor, Tensor], ModelOutput]:
        forward: Any = self.model
        if world_size() > 1:
            devices = [self.device] if self.device.type == "cuda" else None
            forward = DistributedDataParallel(
                self.model, device_ids=devices, gradient_as_bucket_view=True
            )
        return torch.compile(forward) if self.config.run.compile else forward

    def _descend(self, loss: Tensor, total: Tensor, parts: dict[str, Tensor]) -> Tensor:
        """Update the weights; returns the norm of the gradient before it was clipped."""
        scaler, optimizer = self._scaler, self._optimizer
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        weights, limit = list(self.model.parameters()), self.config.optim.gradient_clip
        gradient = nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
        if limit:
            nn.utils.clip_grads_with_norm_(weights, limit, gradient)
        # An overflow of fp16 is no error: the scaler skips the step and lowers the scale.
        overflowed = scaler.is_enabled() and scaler.get_scale() >= 1
        if not (torch.isfinite(total) and (torch.isfinite(gradient) or overflowed)):
            raise TrainingError(self._explain_not_finite(parts, gradient))
        scaler.step(optimizer)
        scaler.update()
        return gradient.detach()

    def _contents(self, with_optimizer: bool) -> dict[str, Any]:
        return {
            "config": to_dict(self.config),
            "model": self.model.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
            "optimizer": self._optimizer.state_dict() if with_optimizer else None,
            "scaler": self._scaler.state_dict() or None,
            "watch": self._alarms.state_dict(),
            "step": self.step_count,
            "best": self.best,
            "torch_rng": torch.get_rng_state(),
        }

    def _due(self, every: int) -> bool:
        return self.step_count % every == 0 or self.step_count == self.config.optim.steps

    def _all_stop(self) -> bool:
        """Whether any process has to stop: then all do, after the same step."""
        return bool(greatest(int(self._stop or self._failure is not None), self.device))

    def _report(
        self, log: RunLog, progress: tqdm, clock: _Clock, batch: Batch, figures: dict[str, Tensor]
    ) -> None:
        """Log, draw, validate and save, each when it is due."""
        run = self.config.run
        if self._due(run.scalars_every):
            self._log_step(log, progress, clock, figures)
        if self._due(run.images_every):
            self._draw(log, batch)
        try:
            if self._due(run.validate_every):
                self._validate(log)
            if self._due(run.checkpoint_every) and self.step_count < self.config.optim.steps:
                self.save(LAST)
        except CheckpointError as error:
            # Raised when all processes have left the loop.
            self._failure = error

    def _draw(self, log: RunLog, batch: Batch) -> None:
        log.image(self.step_count, "panel", panel(self.model, batch, self.config.objective))

    def _log_step(
        self, log: RunLog, progress: tqdm, clock: _Clock, figures: dict[str, Tensor]
    ) -> None:
        values = {name: float(value) for name, value in figures.items()}
        scalars = {f"loss/{name}": value for name, value in values.items()}
        scalars["rate/learning_rate"] = self._optimizer.param_groups[0]["lr"]
        log.scalars(self.step_count, scalars)
        windows = self.config.run.scalars_every * self.config.optim.batch_size
        log.speed(self.step_count, *clock.mark(windows))
        self._raise(log, self._alarms.check(self.step_count, values))
        progress.set_postfix(loss=f"{values['total']:.4f}", refresh=False)

    def _raise(self, log: RunLog, alarms: dict[str, str]) -> None:
        for cause, text in alarms.items():
            log.print(f"ALARM at step {self.step_count}: {text}")
            log.scalars(self.step_count, {f"alarm/{cause.replace(' ', '_')}": 1.0})

    def _validate(self, log: RunLog) -> None:
        windows = self._batcher.sampler.validation(VALIDATION_WINDOWS)
        if not windows:
            return
        model = self._average.module if self._average else self.model
        size = self.config.optim.batch_size
        result = self.validation = validate(model, self._batcher, windows, size, self.device)
        log.scalars(self.step_count, result.figures())
        log.print(f"step {self.step_count}: {result.line()}")
        if self.step_count >= GRACE_STEPS:
            self._raise(log, self._alarms.new_among(result.alarms()))
        if self.step_count and self._is_best(result.score):
            self.best = result.score
            self.save(BEST)

    def _is_best(self, score: float) -> bool:
        """A score that is not a number is the best only until there is another."""
        return self.best is None or math.isnan(self.best) or score < self.best

    def _explain_not_finite(self, parts: dict[str, Tensor], gradient: Tensor) -> str:
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in parts.items())
        other = ", or train in bf16 or fp32" if self._scaler.is_enabled() else ""
        kept, state = self.out / LAST, "No checkpoint has been saved yet"
        if kept.exists():
            state = f"The last checkpoint is kept: {kept}"
        return (
            f"the loss or its gradient is not finite at step {self.step_count} ({values}, "
            f"gradient {float(gradient):.4g}); lower optim.learning_rate or set "
            f"optim.gradient_clip{other}. {state}"
        )


class _Clock:
    """Training speed, and the fraction of the time spent waiting for data."""

    def __init__(self, batches: BatchStream) -> None:
        self._batches = batches
        self._started, self._waited_s = time.perf_counter(), batches.waited_s

    def mark(self, windows: int) -> tuple[float, float]:
        """Windows per second and fraction of the time waited, since the last call."""
        now, waited_s = time.perf_counter(), self._batches.waited_s
        elapsed, waited = now - self._started, waited_s - self._waited_s
        self._started, self._waited_s = now, waited_s
        return windows / elapsed, waited / elapsed
