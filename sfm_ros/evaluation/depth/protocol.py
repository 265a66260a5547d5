"""The depth protocol: which pixels are compared, with which scaling, beside which baselines.

Depth learned from monocular video is defined up to scale, and much of the depth of a street scene
follows from the image row alone. A figure therefore states its scaling and its pixels, beside the
figures of two baselines that use no image (see `baselines`), on the same pixels with the same
scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import DepthMap, Frame
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.baselines import DepthBaselines
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.metrics import (
    CROPS,
    SCALINGS,
    DepthMetrics,
    Mask,
    crop_mask,
    depth_errors,
    valid_pixels,
)
from sfm_ros.evaluation.depth.result import (
    MODEL,
    PREDICTORS,
    DepthFigures,
    ScoredImage,
    figures_by_drive,
    mean_figures,
)
from sfm_ros.preprocess import ImagePreparer
from sfm_ros.window import Window

FITS = ("stretch", "crop")

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
        figures: means over all images.
        drives: means over the images of each drive, by its name.
        images: each compared image.
        points, points_unpredicted: valid ground-truth pixels, and how many of them are outside
            the view of the network.
        skipped: images without any pixel to compare.
        absent: images of the split that are not in the folder.
        camera_heights_m: heights of the cameras above the road, 0 for one that is not known.
    """

    model: str
    data: str
    ground_truth: str
    protocol: DepthProtocol
    figures: DepthFigures
    drives: Mapping[str, DepthFigures]
    images: tuple[ScoredImage, ...]
    points: int
    points_unpredicted: int
    skipped: int
    absent: int
    camera_heights_m: tuple[float, ...] = ()


class DepthPredictor:
    """Depth of single images on their own grid; ``fit`` is one of `FITS`."""

    def __init__(self, engine: Engine, fit: str) -> None:
        spec = engine.spec
        self._engine = engine
        self._preparer = ImagePreparer(spec.width, spec.height, fit)
        self._grid = ImageGrid()

    def depth(self, frame: Frame, camera_height_m: float = 0.0) -> DepthMap:
        """(H, W) depth along +z in network units, NaN outside the view of the network.

        Args:
            camera_height_m: height of the camera above the road; 0 if unknown.
        """
        prepared = self._preparer.prepare(frame)
        count = self._engine.spec.sequence_length
        # Only the depth is used, so the pose network gets a static camera.
        window = Window(
            images=(prepared.rgb,) * count,
            stamps_ns=tuple(range(count)),
            intrinsics=prepared.intrinsics,
            camera_height_m=camera_height_m,
        )
        depth = self._engine.infer(window).depth
        return self._grid.enlarge(depth, frame.intrinsics, prepared.intrinsics)


def run_protocol(
    engine: Engine,
    data: DepthSet,
    protocol: DepthProtocol,
    progress: Progress = lambda samples, _: samples,
) -> DepthReport:
    """Score the depth of a model and of the baselines, with the scaling and without.

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
        self._images: list[ScoredImage] = []
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
            by_median, unscaled = (
                self._errors(predictions, ground_truth, valid, dict.fromkeys(predictions, scaling))
                for scaling in ("median", "none")
            )
            if not by_median:
                continue  # no pixel can be compared
            image = ScoredImage(
                index=index,
                name=sample.name,
                drive=sample.drive,
                scaled=unscaled if self._protocol.scaling == "none" else by_median,
                unscaled=unscaled,
                ratios={name: errors.scale for name, errors in by_median.items()},
            )
            self._images.append(image)

    def rescale(self, samples: Iterable[DepthSample]) -> None:
        scales = {
            name: float(np.median([image.ratios[name] for image in self._images]))
            for name in PREDICTORS
        }
        scored = {image.index: image for image in self._images}
        self._images = [
            replace(scored[index], scaled=self._rescaled(sample, scales))
            for index, sample in enumerate(samples)
            if index in scored
        ]

    def _rescaled(
        self, sample: DepthSample, scales: Mapping[str, float]
    ) -> Mapping[str, DepthMetrics]:
        ground_truth, valid, predictions = self._read(sample)
        return self._errors(predictions, ground_truth, valid, scales)

    def report(self, model: str) -> DepthReport:
        data, protocol = self._data, self._protocol
        if not self._images:
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
            figures=mean_figures(self._images),
            drives=figures_by_drive(self._images),
            images=tuple(self._images),
            points=self._points,
            points_unpredicted=self._points_unpredicted,
            skipped=len(data.samples) - len(self._images),
            absent=data.absent,
            camera_heights_m=tuple(sorted({s.camera_height_m for s in data.samples})),
        )

    def _read(self, sample: DepthSample) -> tuple[DepthMap, Mask, dict[str, DepthMap]]:
        """Ground truth, the pixels to compare, and predictions by name; (H, W) each."""
        ground_truth, frame = sample.ground_truth(), sample.frame()
        height, width = ground_truth.shape
        if (height, width) != frame.rgb.shape[:2]:
            raise SfmRosError(
                f"{sample.drive} {sample.name}: the ground-truth depth is {width}x{height}, the "
                f"image {frame.rgb.shape[1]}x{frame.rgb.shape[0]}; expected equal sizes"
            )
        depth = self._predictor.depth(frame, sample.camera_height_m)
        with np.errstate(invalid="ignore"):
            visible = np.isfinite(depth) & (depth > 0)  # all are compared on the same pixels
        baselines = {
            name: np.where(visible, prediction, np.float32(np.nan))
            for name, prediction in self._baselines.predict(height, width).items()
        }
        return ground_truth, self._valid(ground_truth), {MODEL: depth, **baselines}

    def _valid(self, ground_truth: DepthMap) -> Mask:
        protocol = self._protocol
        mask = crop_mask(protocol.crop, *ground_truth.shape)
        return valid_pixels(ground_truth, protocol.min_depth, protocol.max_depth, mask)

    def _errors(
        self,
        predictions: Mapping[str, DepthMap],
        ground_truth: DepthMap,
        valid: Mask,
        scalings: Mapping[str, str | float],
    ) -> dict[str, DepthMetrics]:
        """Errors of each prediction; empty if no pixel can be compared."""
        caps = (self._protocol.min_depth, self._protocol.max_depth)
        found = {
            name: depth_errors(prediction, ground_truth, scalings[name], *caps, valid)
            for name, prediction in predictions.items()
        }
        return {name: errors for name, errors in found.items() if errors is not None}
