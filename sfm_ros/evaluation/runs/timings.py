"""How long each stage of each step took: the part of a run that is never the same twice."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.runs.result import Percentiles

INFERENCE = "inference"
"""Name of the engine's stage in ``OdometryEstimate.timings_ns``."""


class Timings:
    """Nanoseconds by stage, packed; a stage that a step did not reach took none."""

    def __init__(self) -> None:
        self._stamps = array("q")
        self._stages: dict[str, array[int]] = {}

    def add(self, stamp_ns: int, timings_ns: Mapping[str, int]) -> None:
        """What the next step took."""
        for stage in timings_ns:
            if stage not in self._stages:
                self._stages[stage] = array("q", bytes(8 * len(self._stamps)))
        self._stamps.append(stamp_ns)
        for stage, column in self._stages.items():
            column.append(timings_ns.get(stage, 0))

    def stages(self) -> dict[str, Percentiles]:
        """Of each stage, over the steps in which the networks ran."""
        ran = self._ran()
        found = {
            stage: Percentiles.of(np.array(column, dtype=np.float64)[ran] * 1e-6)
            for stage, column in self._stages.items()
        }
        return {stage: value for stage, value in found.items() if value is not None}

    def totals_ms(self) -> FloatArray:
        """(N,) time of each step in which the networks ran."""
        if not self._stages:
            return np.zeros(0)
        columns = [np.array(column, dtype=np.float64) for column in self._stages.values()]
        return np.sum(columns, axis=0)[self._ran()] * 1e-6

    def inference_s(self) -> float:
        """Sum of the time in the engine."""
        return sum(self._stages.get(INFERENCE, ())) * 1e-9

    def write(self, path: Path) -> None:
        """A line for each step: stamp and nanoseconds by stage."""
        columns = list(self._stages.values())
        lines = [",".join(["stamp_ns", *(f"{stage}_ns" for stage in self._stages)])]
        lines += [",".join(map(str, row)) for row in zip(self._stamps, *columns, strict=True)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _ran(self) -> np.ndarray:
        """(N,) steps that got as far as the engine: others would flatter the figures."""
        column = self._stages.get(INFERENCE)
        if column is None:
            return np.zeros(len(self._stamps), dtype=bool)
        return np.array(column, dtype=np.int64) > 0
