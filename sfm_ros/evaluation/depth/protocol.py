"""The depth protocol: which pixels are compared, with which scaling, beside which baselines.

Depth learned from monocular video is defined up to scale, and much of the depth of a street scene
follows from the image row alone. A figure therefore states its scaling and its pixels, beside the
figures of two baselines that use no image (see `baselines`), on the same pixels with the same
scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import DepthMap, Frame
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.baselines import CONSTANT, ROW_MEDIAN, DepthBaselines
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
MODEL = "model"

Progress = Callable[[Iterable[DepthSample], str], Iterable[DepthSample]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthProtocol:
    """What a depth figure depends on besides the model.

    Attributes:
        scaling: one of `SCALINGS`.
        crop: one of `CROPS`, or ``auto`` for the crop of published figures on the data set (Garg's
            for lidar scans, otherwise none).
        fit: ``stretch`` resizes the whole image to the network, as in published programs; ``crop``
            keeps the aspect ratio and cuts the border, as in the node. Pixels outside the crop are
            not compared.
        min_depth, max_depth: caps in meters.
    """

    scaling: str = "median"
    crop: str = "auto"
    fit: str = "stretch"
    min_depth: float = 1e-3
    max_depth: float = 80.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("scaling", self.scaling, SCALINGS),
            ("crop", self.crop, ("auto", *CROPS)),
            ("fit", self.fit, FITS),
        ):
            if value not in known:
                raise SfmRosError(f"the {name} is '{value}', expected one of {', '.join(known)}")
        if not 0 < self.min_depth < self.max_depth:
            raise SfmRosError(
                f"the depth caps are {self.min_depth:g} and {self.max_depth:g} m, expected two "
                "increasing positive numbers"
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthReport:
    """Result of one evaluation.

    Attributes:
        model, data, ground_truth: names of what was evaluated and of the data set.
        protocol: the protocol, with the crop that was used in place of ``auto``.
        metrics: by name, those of the model and of the baselines.
        images: (index in the data set, name, errors of the model) of each compared image.
        points, points_unpredicted: valid ground-truth pixels, and how many of them are outside
            the view of the network.
        skipped: images without any pixel to compare.
        absent: images of the split that are not in the folder.
    """

    model: str
    data: str
    ground_truth: str
    protocol: DepthProtocol
    metrics: dict[str, DepthSetMetrics]
    images: tuple[tuple[int, str, DepthMetrics], ...]
    points: int
    points_unpredicted: int
    skipped: int
    absent: int


class DepthPredictor:
    """Depth of single images on their own grid; ``fit`` is one of `FITS`."""

    def __init__(self, engine: Engine, fit: str) -> None:
        spec = engine.spec
        self._engine = engine
        self._preparer = ImagePreparer(spec.width, spec.height, fit)
        self._grid = ImageGrid()

    def depth(self, frame: Frame) -> DepthMap:
        """(H, W) depth along +z in network units, NaN outside the view of the network."""
        prepared = self._preparer.prepare(frame)
        count = self._engine.spec.sequence_length
        # Only the depth is used, so the pose network gets a static camera.
        window = Window(
            images=(prepared.rgb,) * count,
            stamps_ns=tuple(range(count)),
            intrinsics=prepared.intrinsics,
        )
        depth = self._engine.infer(window).depth
        return self._grid.enlarge(depth, frame.intrinsics, prepared.intrinsics)


def run_protocol(
    engine: Engine,
    data: DepthSet,
    protocol: DepthProtocol,
    progress: Progress = lambda samples, _: samples,
) -> DepthReport:
    """Evaluate the depth of a model and of the baselines.

    The data set is read twice: the ground truth alone to fit the baselines, then everything.
    ``global`` scaling takes one more pass. ``progress`` wraps the samples of each pass.

    Raises:
        SfmRosError: no image has a pixel to compare; also those of the readers.
    """
    scorer = _ProtocolScorer(DepthPredictor(engine, protocol.fit), data, protocol)
    scorer.fit_baselines(progress(data.samples, "ground truth"))
    scorer.score(progress(data.samples, "depth"))
    if protocol.scaling == "global":
        scorer.rescale(progress(data.samples, "global scale"))
    return scorer.report(engine.spec.name)


class _ProtocolScorer:
    """The passes over a data set."""

    def __init__(self, predictor: DepthPredictor, data: DepthSet, protocol: DepthProtocol) -> None:
        self._predictor, self._data = predictor, data
        crop = data.crop if protocol.crop == "auto" else protocol.crop
        self._protocol = replace(protocol, crop=crop)
        self._baselines = DepthBaselines(protocol.min_depth, protocol.max_depth)
        names = (MODEL, CONSTANT, ROW_MEDIAN)
        self._errors: dict[str, dict[int, DepthMetrics]] = {name: {} for name in names}
        self._ratios: dict[str, list[float]] = {name: [] for name in names}
        self._points = self._points_unpredicted = 0

    def fit_baselines(self, samples: Iterable[DepthSample]) -> None:
        for sample in samples:
            ground_truth = sample.ground_truth()
            self._baselines.add(ground_truth, self._valid(ground_truth))

    def score(self, samples: Iterable[DepthSample]) -> None:
        for index, sample in enumerate(samples):
            ground_truth, valid, predictions = self._read(sample)
            unpredicted = valid & ~np.isfinite(predictions[MODEL])
            self._points += int(np.count_nonzero(valid))
            self._points_unpredicted += int(np.count_nonzero(unpredicted))
            for name, prediction in predictions.items():
                errors = self._depth_errors(prediction, ground_truth, valid, "median")
                if errors is None:
                    continue
                self._ratios[name].append(errors.scale)
                if self._protocol.scaling == "none":
                    errors = self._depth_errors(prediction, ground_truth, valid, "none")
                assert errors is not None  # the same pixels as with the median
                self._errors[name][index] = errors

    def rescale(self, samples: Iterable[DepthSample]) -> None:
        for index, sample in enumerate(samples):
            if index not in self._errors[MODEL]:
                continue
            ground_truth, valid, predictions = self._read(sample)
            for name, prediction in predictions.items():
                scale = float(np.median(self._ratios[name]))
                errors = self._depth_errors(prediction, ground_truth, valid, scale)
                assert errors is not None  # the same pixels as in the pass before
                self._errors[name][index] = errors

    def report(self, model: str) -> DepthReport:
        errors, data, protocol = self._errors[MODEL], self._data, self._protocol
        if not errors:
            raise SfmRosError(
                f"nothing to compare: none of the {len(data.samples)} images of {data.name} has "
                f"a ground-truth depth of {protocol.min_depth:g} to {protocol.max_depth:g} m "
                f"inside the crop '{protocol.crop}'"
            )
        return DepthReport(
            model=model,
            data=data.name,
            ground_truth=data.ground_truth,
            protocol=protocol,
            metrics={
                name: summarize(list(found.values()), self._ratios[name])
                for name, found in self._errors.items()
            },
            images=tuple((i, data.samples[i].name, errors[i]) for i in sorted(errors)),
            points=self._points,
            points_unpredicted=self._points_unpredicted,
            skipped=len(data.samples) - len(errors),
            absent=data.absent,
        )

    def _read(self, sample: DepthSample) -> tuple[DepthMap, Mask, dict[str, DepthMap]]:
        """Ground truth, the pixels to compare, and predictions by name; (H, W) each."""
        ground_truth, frame = sample.ground_truth(), sample.frame()
        height, width = ground_truth.shape
        if (height, width) != frame.rgb.shape[:2]:
            raise SfmRosError(
                f"{sample.name}: the ground-truth depth is {width}x{height}, the image "
                f"{frame.rgb.shape[1]}x{frame.rgb.shape[0]}; expected equal sizes"
            )
        depth = self._predictor.depth(frame)
        visible = np.isfinite(depth)  # the baselines are compared on the pixels of the model
        baselines = {
            name: np.where(visible, prediction, np.float32(np.nan))
            for name, prediction in self._baselines.predict(height, width).items()
        }
        return ground_truth, self._valid(ground_truth), {MODEL: depth, **baselines}

    def _valid(self, ground_truth: DepthMap) -> Mask:
        protocol = self._protocol
        mask = crop_mask(protocol.crop, *ground_truth.shape)
        return valid_pixels(ground_truth, protocol.min_depth, protocol.max_depth, mask)

    def _depth_errors(
        self, prediction: DepthMap, ground_truth: DepthMap, valid: Mask, scaling: str | float
    ) -> DepthMetrics | None:
        caps = (self._protocol.min_depth, self._protocol.max_depth)
        return depth_errors(prediction, ground_truth, scaling, *caps, valid)
