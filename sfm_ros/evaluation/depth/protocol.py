"""The depth protocol: what is compared with what, and the floors beside the result.

A network trained on video alone knows depth up to a factor, and an image of a street is half
guessed once the height of a pixel is known. So a figure says how its scale was found and which
pixels count, and beside it stand two rivals that look at no image: a constant depth, and the
median ground-truth depth of each image row. Both are judged on the same pixels, with the same scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sfm_ros.config import PreprocessConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.metrics import (
    CROPS,
    SCALINGS,
    DepthMetrics,
    DepthSetMetrics,
    Mask,
    crop_mask,
    depth_errors,
    summarize,
    valid_pixels,
)
from sfm_ros.preprocess import ImagePreparer
from sfm_ros.window import Window

FITS = ("stretch", "crop")
MODEL, CONSTANT, ROWS = "model", "constant depth", "median of each row"

Progress = Callable[[Iterable[DepthSample], str], Iterable[DepthSample]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthProtocol:
    """What a depth figure depends on beside the model.

    Attributes:
        scaling: one of `depth_metrics.SCALINGS`.
        crop: one of `depth_metrics.CROPS`, or ``auto`` for what published figures on such data
            use (Garg's on laser scans, none elsewhere).
        fit: ``stretch`` squeezes the whole image into the network, as published programs do;
            ``crop`` keeps the aspect and cuts the border, as the node does. Pixels the network
            does not see do not count.
        min_depth, max_depth: caps in meters.
    """

    scaling: str = "median"
    crop: str = "auto"
    fit: str = "stretch"
    min_depth: float = 1e-3
    max_depth: float = 80.0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("scaling", self.scaling, SCALINGS),
            ("crop", self.crop, ("auto", *CROPS)),
            ("fit", self.fit, FITS),
        ):
            if value not in known:
                raise SfmRosError(f"the {what} is '{value}', expected one of {', '.join(known)}")
        if not 0 < self.min_depth < self.max_depth:
            raise SfmRosError(
                f"the depths that count are {self.min_depth:g} to {self.max_depth:g} m, expected "
                "two increasing positive numbers"
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthReport:
    """Result of one evaluation.

    Attributes:
        model, data, ground_truth: what was judged, on what.
        protocol: how, with the crop that was used in place of ``auto``.
        rows: figures by name: the model's, and the floors'.
        images: (index in the set, name, the model's errors) of every image that counts.
        points, points_unpredicted: pixels with a ground truth that the protocol compares, and how many of
            them the network did not see.
        skipped: images without any pixel to compare.
        absent: images of the split that are not in the folder.
    """

    model: str
    data: str
    ground_truth: str
    protocol: DepthProtocol
    rows: dict[str, DepthSetMetrics]
    images: tuple[tuple[int, str, DepthMetrics], ...]
    points: int
    points_unpredicted: int
    skipped: int
    absent: int


class DepthPredictor:
    """Depth of single images on their own grid, by an engine.

    Args:
        engine: the networks.
        fit: one of `FITS`.
    """

    def __init__(self, engine: Engine, fit: str) -> None:
        spec = engine.spec
        self._engine, self._input = engine, PreprocessConfig().input
        self._preparer = ImagePreparer(spec.width, spec.height, self._input, fit)
        self._grid: ImageGrid | None = None

    def depth(self, frame: Frame) -> DepthMap:
        """(H, W) depth along +z in the network's units, NaN where it does not see."""
        prepared = self._preparer.prepare(frame)
        count = self._engine.spec.sequence_length
        # Only the depth is wanted: the motion network gets a camera that stands still.
        window = Window(
            images=(prepared.rgb,) * count,
            stamps_ns=tuple(range(count)),
            intrinsics=prepared.intrinsics,
        )
        depth = self._engine.infer(window).depth
        return self._grid_for(frame.intrinsics, prepared.intrinsics).enlarge(depth)

    def _grid_for(self, image: CameraIntrinsics, network: CameraIntrinsics) -> ImageGrid:
        if self._grid is None or not self._grid.fits(image, network):
            self._grid = ImageGrid(image, network, self._input)
        return self._grid


def run_protocol(
    engine: Engine,
    data: DepthSet,
    protocol: DepthProtocol,
    progress: Progress = lambda samples, _: samples,
) -> DepthReport:
    """Judge a model's depth, and the floors beside it.

    The set is read twice: the ground truth alone, for the floors; then all together.
    ``global`` scaling takes one more pass.

    Args:
        engine: the networks.
        data: what to judge it on.
        protocol: how.
        progress: wraps the samples of each pass, with its name.

    Raises:
        SfmRosError: no image has a pixel to compare; or see the readers.
    """
    scorer = _ProtocolScorer(DepthPredictor(engine, protocol.fit), data, protocol)
    scorer.fit_baselines(progress(data.samples, "ground_truth"))
    scorer.compare(progress(data.samples, "depth"))
    if protocol.scaling == "global":
        scorer.rescale(progress(data.samples, "one scale"))
    return scorer.report(engine.spec.name)


class _ProtocolScorer:
    """The passes over a set."""

    def __init__(self, predictor: DepthPredictor, data: DepthSet, protocol: DepthProtocol) -> None:
        self._predictor, self._data = predictor, data
        crop = data.crop if protocol.crop == "auto" else protocol.crop
        self._protocol = replace(protocol, crop=crop)
        self._rows = RowMedians(protocol.min_depth, protocol.max_depth)
        self._medians: list[float] = []
        self._errors: dict[str, dict[int, DepthMetrics]] = {}
        self._ratios: dict[str, list[float]] = {}
        self._points = self._unseen = 0

    def fit_baselines(self, samples: Iterable[DepthSample]) -> None:
        for sample in samples:
            ground_truth = sample.ground_truth()
            valid = self._counts(ground_truth)
            if np.any(valid):
                self._medians.append(float(np.median(ground_truth[valid])))
                self._rows.add(ground_truth, valid)

    def compare(self, samples: Iterable[DepthSample]) -> None:
        self._errors = {name: {} for name in (MODEL, CONSTANT, ROWS)}
        self._ratios = {name: [] for name in self._errors}
        for index, sample in enumerate(samples):
            ground_truth, prediction = self._both(sample)
            valid = self._counts(ground_truth)
            seen = np.isfinite(prediction)
            self._points += int(np.count_nonzero(valid))
            self._unseen += int(np.count_nonzero(valid & ~seen))
            for name, depth in self._baselines(prediction).items():
                found = self._judged(depth, ground_truth, "median", valid)
                if found is not None:
                    self._ratios[name].append(found.scale)
                    self._errors[name][index] = found
                if found is not None and self._protocol.scaling == "none":
                    self._keep(name, index, self._judged(depth, ground_truth, "none", valid))

    def rescale(self, samples: Iterable[DepthSample]) -> None:
        factors = {name: float(np.median(ratios)) for name, ratios in self._ratios.items()}
        for index, sample in enumerate(samples):
            if index in self._errors[MODEL]:
                ground_truth, prediction = self._both(sample)
                valid = self._counts(ground_truth)
                for name, depth in self._baselines(prediction).items():
                    self._keep(
                        name, index, self._judged(depth, ground_truth, factors[name], valid)
                    )

    def _keep(self, name: str, index: int, found: DepthMetrics | None) -> None:
        assert found is not None  # the same pixels counted before
        self._errors[name][index] = found

    def report(self, model: str) -> DepthReport:
        errors = self._errors[MODEL]
        if not errors:
            raise SfmRosError(
                f"nothing to compare: in none of the {len(self._data.samples)} images of "
                f"{self._data.name} is there a ground-truth depth of {self._protocol.min_depth:g} to "
                f"{self._protocol.max_depth:g} m inside the crop '{self._protocol.crop}'"
            )
        return DepthReport(
            model=model,
            data=self._data.name,
            ground_truth=self._data.ground_truth,
            protocol=self._protocol,
            rows={
                name: summarize(list(found.values()), self._ratios[name])
                for name, found in self._errors.items()
            },
            images=tuple((i, self._data.samples[i].name, errors[i]) for i in sorted(errors)),
            points=self._points,
            points_unpredicted=self._unseen,
            skipped=len(self._data.samples) - len(errors),
            absent=self._data.absent,
        )

    def _both(self, sample: DepthSample) -> tuple[DepthMap, DepthMap]:
        ground_truth, frame = sample.ground_truth(), sample.frame()
        if ground_truth.shape != frame.rgb.shape[:2]:
            raise SfmRosError(
                f"{sample.name}: the ground-truth depth is {ground_truth.shape[1]}x{ground_truth.shape[0]}, the image "
                f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]}; expected one size"
            )
        return ground_truth, self._predictor.depth(frame)

    def _baselines(self, prediction: DepthMap) -> dict[str, DepthMap]:
        """The model and the floors, all on the pixels the model sees."""
        seen = np.isfinite(prediction)
        unseen = np.float32(np.nan)
        constant = np.float32(np.median(self._medians)) if self._medians else unseen
        rows = self._rows.depth(*prediction.shape)
        return {
            MODEL: prediction,
            CONSTANT: np.where(seen, constant, unseen),
            ROWS: np.where(seen, rows, unseen),
        }

    def _counts(self, ground_truth: DepthMap) -> Mask:
        protocol = self._protocol
        mask = crop_mask(protocol.crop, *ground_truth.shape)
        return valid_pixels(ground_truth, protocol.min_depth, protocol.max_depth, mask)

    def _judged(
        self, depth: DepthMap, ground_truth: DepthMap, scaling: str | float, valid: Mask
    ) -> DepthMetrics | None:
        protocol = self._protocol
        return depth_errors(
            depth, ground_truth, scaling, protocol.min_depth, protocol.max_depth, valid
        )


class RowMedians:
    """Median depth of each image row over a set, from counts in narrow steps of log depth.

    Rows without any ground truth take the nearest row that has one. Images of slightly different
    heights share rows by their relative height.
    """

    _STEPS = 4096

    def __init__(self, min_depth: float, max_depth: float) -> None:
        self._low, self._high = np.log(min_depth), np.log(max_depth)
        self._counts: npt.NDArray[np.int64] | None = None

    def add(self, ground_truth: DepthMap, valid: Mask) -> None:
        """Count the valid pixels of an image."""
        if self._counts is None:
            self._counts = np.zeros((ground_truth.shape[0], self._STEPS), dtype=np.int64)
        height = len(self._counts)
        rows = np.nonzero(valid)[0] * height // ground_truth.shape[0]
        share = (np.log(ground_truth[valid].astype(np.float64)) - self._low) / (
            self._high - self._low
        )
        steps = np.clip((share * self._STEPS).astype(np.int64), 0, self._STEPS - 1)
        flat = np.bincount(rows * self._STEPS + steps, minlength=self._counts.size)
        self._counts += flat.reshape(self._counts.shape)

    def depth(self, height: int, width: int) -> DepthMap:
        """(height, width) meters; NaN where nothing was ever counted."""
        if self._counts is None:
            return np.full((height, width), np.nan, dtype=np.float32)
        below = np.cumsum(self._counts, axis=1)
        known = np.flatnonzero(below[:, -1])
        middle = np.argmax(2 * below[known] >= below[known, -1:], axis=1)
        step = (self._high - self._low) / self._STEPS
        medians = np.exp(self._low + (middle + 0.5) * step)
        rows = np.arange(height) * len(self._counts) // height
        nearest = np.abs(rows[:, None] - known[None]).argmin(axis=1)
        return np.repeat(medians[nearest].astype(np.float32)[:, None], width, axis=1)
