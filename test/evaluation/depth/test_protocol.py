"""The depth protocol with models of known depth, and its baselines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.cli.evaluate import main
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec, road_depth
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.baselines import CONSTANT, ROW_MEDIAN, DepthBaselines
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet, joined_set
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.kitti import kitti_set
from sfm_ros.evaluation.depth.metrics import crop_mask
from sfm_ros.evaluation.depth.protocol import DepthPredictor, DepthProtocol, run_protocol
from sfm_ros.evaluation.depth.report import draw_extremes, json_report, text_report
from sfm_ros.evaluation.depth.result import MODEL
from sfm_ros.geometry import so3_exp
from sfm_ros.preprocess import ImagePreparer, plan_target_camera, undistort_map
from sfm_ros.window import Window

CAMERA = CameraIntrinsics(width=300, height=80, fx=180.0, fy=180.0, cx=152.2, cy=31.0)
SPEC = fake_spec(width=128, height=64, sequence_length=3)
HEIGHT_M = 1.65


def frame(camera: CameraIntrinsics = CAMERA, stamp_ns: int = 0) -> Frame:
    rgb = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    return Frame(stamp_ns=stamp_ns, rgb=rgb, intrinsics=camera)


def road(camera: CameraIntrinsics = CAMERA) -> DepthMap:
    """A level road; unknown beyond 60 m and above the horizon."""
    below = np.maximum(np.arange(camera.height) - camera.cy, 1e-6)
    column = camera.fy * HEIGHT_M / below
    column[column > 60.0] = 0.0
    return np.repeat(column[:, None].astype(np.float32), camera.width, axis=1)


def as_set(ground_truths: list[DepthMap], drive: str = "road") -> DepthSet:
    samples = [
        DepthSample(
            name=f"p{i}",
            drive=drive,
            frame=frame,
            ground_truth=lambda ground_truth=ground_truth: ground_truth,
        )
        for i, ground_truth in enumerate(ground_truths)
    ]
    return DepthSet(name=drive, ground_truth="computed", crop="none", samples=samples)


def answering(depths: list[Callable[[Window], DepthMap]]) -> FakeEngine:
    """An engine that predicts these in turn."""
    turn = iter(depths * 3)
    return FakeEngine(SPEC, depth=lambda window: next(turn)(window))


def test_predictor_knows_the_height_of_the_camera() -> None:
    engine = FakeEngine(SPEC, depth=lambda window: road_depth(window, window.camera_height_m))
    data = as_set([2 * road(), road()])
    heights = (2 * HEIGHT_M, HEIGHT_M)
    samples = [
        replace(sample, camera_height_m=height_m)
        for sample, height_m in zip(data.samples, heights, strict=True)
    ]
    report = run_protocol(engine, replace(data, samples=samples), DepthProtocol(max_depth=50.0))
    assert [image.unscaled[MODEL].abs_rel for image in report.images] == pytest.approx(
        [0.0, 0.0], abs=0.01
    )


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_plane_is_recovered_exactly_with_either_fit(fit: str) -> None:
    # The inverse depth of a plane is linear in the pixels, so bilinear upsampling is exact.
    found = DepthPredictor(FakeEngine(SPEC), fit).depth(frame())
    expected = road()
    inside = (expected > 0) & np.isfinite(found)
    inside[-3:] = inside[:, :3] = inside[:, -3:] = False  # the border repeats the outermost value
    assert np.count_nonzero(inside) > 5000
    # OpenCV rounds positions to 1/32 pixel: near the horizon that is 0.3 %.
    assert np.abs(found[inside] / expected[inside] - 1).max() < 5e-3


def test_stretch_covers_the_image_and_crop_does_not() -> None:
    found = {
        fit: DepthPredictor(FakeEngine(SPEC), fit).depth(frame()) for fit in ("stretch", "crop")
    }
    assert np.isfinite(found["stretch"]).all()
    # 128x64 of 300x80: the crop is 160 columns wide, centered on cx + 0.5 = 152.7.
    visible = np.isfinite(found["crop"]).all(axis=0)
    assert (np.flatnonzero(visible)[0], np.count_nonzero(visible)) == (73, 160)


def test_stretched_images_keep_every_ray() -> None:
    prepared = ImagePreparer(128, 64, fit="stretch").prepare(frame())
    camera = prepared.intrinsics
    for x, y in ((-0.5, -0.5), (CAMERA.width - 0.5, CAMERA.height - 0.5)):
        ray = ((x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy)
        corner = (camera.fx * ray[0] + camera.cx, camera.fy * ray[1] + camera.cy)
        assert corner == pytest.approx((-0.5, -0.5) if x < 0 else (127.5, 63.5))


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", (-0.37, 0.2, 0.001, 0.0006, -0.07)), ("equidistant", (-0.03, 0.01, 0.0, 0.0))],
)
def test_grid_of_a_distorted_image_inverts_rectification(
    model: str, distortion: tuple[float, ...]
) -> None:
    raw = CameraIntrinsics(
        width=640, height=200, fx=420.0, fy=418.0, cx=325.0, cy=98.0, distortion_model=model,
        distortion=distortion, R=so3_exp(np.array([0.01, -0.02, 0.005])),
    )  # fmt: skip
    network = plan_target_camera(raw, 128, 64)
    # The inverse depth is the column of the network's grid, read back at the raw pixel from which
    # rectification takes that column.
    columns = np.arange(1.0, 129.0, dtype=np.float32)
    depth = np.repeat(1.0 / columns[None], 64, axis=0)
    enlarged = ImageGrid().enlarge(depth, raw, network)
    map_x, map_y = undistort_map(raw, network)
    for row, column in ((20, 30), (32, 64), (50, 100)):
        x, y = round(float(map_x[row, column])), round(float(map_y[row, column]))
        assert 1.0 / enlarged[y, x] == pytest.approx(columns[column], abs=0.3)


def test_perfect_model_and_its_scale() -> None:
    engine = answering([lambda w: road_depth(w) * 0.5, lambda w: road_depth(w) * 0.25])
    report = run_protocol(engine, as_set([road(), road()]), DepthProtocol())
    model = report.figures.scaled[MODEL]
    assert model.mean.abs_rel < 2e-3 and model.mean.a1 > 0.999
    assert (model.scale_median, model.scale_mean, model.scale_std) == pytest.approx(
        (3, 3, 1), rel=1e-3
    )
    assert report.points == 2 * np.count_nonzero(road()) and report.points_unpredicted == 0
    # The row median is as good as the model on a level road; a constant is not.
    assert report.figures.scaled[ROW_MEDIAN].mean.abs_rel < 3e-3
    assert report.figures.scaled[CONSTANT].mean.abs_rel > 0.3


def test_global_scale_keeps_differences_between_images() -> None:
    engine = answering([lambda w: road_depth(w) * 0.5, lambda w: road_depth(w) * 0.25])
    report = run_protocol(engine, as_set([road(), road()]), DepthProtocol(scaling="global"))
    # The factors are 2 and 4, their median 3: 50 % too far, and 25 % too near.
    assert [i.scaled[MODEL].abs_rel for i in report.images] == pytest.approx([0.5, 0.25], abs=0.02)
    assert all(i.scaled[MODEL].scale == pytest.approx(3.0, rel=1e-3) for i in report.images)


def test_scale_is_an_error_without_scaling() -> None:
    engine = FakeEngine(SPEC, depth=lambda w: road_depth(w) * 1.1)
    report = run_protocol(engine, as_set([road()]), DepthProtocol(scaling="none"))
    model = report.figures.scaled[MODEL]
    assert model.mean.abs_rel == pytest.approx(0.1, abs=2e-3)
    assert model.scale_median == pytest.approx(1 / 1.1, rel=1e-3)


def test_pixels_outside_the_network_are_not_compared() -> None:
    ground_truth = road()
    ground_truth[:, :60] = 1.0  # outside the crop, and wrong for every baseline
    report = run_protocol(FakeEngine(SPEC), as_set([ground_truth]), DepthProtocol(fit="crop"))
    known = ground_truth > 0
    assert report.points == np.count_nonzero(known)
    outside = np.count_nonzero(known[:, :73]) + np.count_nonzero(known[:, 73 + 160 :])
    assert report.points_unpredicted == outside
    assert report.figures.scaled[MODEL].mean.abs_rel < 2e-3
    assert report.figures.scaled[MODEL].mean.coverage == pytest.approx(1 - outside / report.points)


def test_crops_of_published_tables() -> None:
    # Garg: rows 153 to 370, columns 44 to 1196 of 375x1242 (the constants of the paper's code).
    for name, rows, columns in (
        ("garg", (153, 371), (44, 1197)),
        ("eigen", (124, 342), (44, 1197)),
    ):
        mask = crop_mask(name, 375, 1242)
        assert np.flatnonzero(mask.any(1))[[0, -1]].tolist() == [rows[0], rows[1] - 1]
        assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [columns[0], columns[1] - 1]
    assert crop_mask("none", 3, 4) is None
    with pytest.raises(SfmRosError, match="the crop is 'center'"):
        crop_mask("center", 3, 4)


def test_row_medians_are_medians() -> None:
    rng = np.random.default_rng(0)
    maps = [np.exp(rng.uniform(0, 4, (6, 501))).astype(np.float32) for _ in range(3)]
    baselines = DepthBaselines(1e-3, 80.0)
    for each in maps:
        valid = each < 80.0
        valid[2] = False
        baselines.add(each, valid)
    found = baselines.predict(6, 2)[ROW_MEDIAN]
    expected = [np.median(np.concatenate([m[r] for m in maps])) for r in range(6)]
    assert np.abs(found[[0, 1, 3, 4, 5], 0] / np.array(expected)[[0, 1, 3, 4, 5]] - 1).max() < 0.01
    assert found[2, 0] == found[1, 0]  # no ground truth: the nearest row
    twice = baselines.predict(12, 2)[ROW_MEDIAN]
    assert twice[:2, 0].tolist() == [found[0, 0]] * 2  # the same at another height


def test_images_without_ground_truth_are_skipped() -> None:
    report = run_protocol(FakeEngine(SPEC), as_set([np.zeros((80, 300), np.float32), road()]),
                          DepthProtocol())  # fmt: skip
    assert report.skipped == 1 and report.figures.scaled[MODEL].images == 1
    with pytest.raises(SfmRosError, match="nothing to compare: none of the 1 images"):
        run_protocol(FakeEngine(SPEC), as_set([np.zeros((80, 300), np.float32)]), DepthProtocol())
    with pytest.raises(SfmRosError, match="the ground-truth depth is 10x10, the image 300x80"):
        run_protocol(FakeEngine(SPEC), as_set([np.ones((10, 10), np.float32)]), DepthProtocol())


@pytest.mark.parametrize(
    "wrong", [{"scaling": "mean"}, {"crop": "all"}, {"fit": "pad"}, {"min_depth": 90.0}]
)
def test_invalid_protocol_is_refused(wrong: dict) -> None:
    with pytest.raises(SfmRosError, match="expected"):
        DepthProtocol(**wrong)


def test_baselines_on_kitti_scans(shared_data: Path) -> None:
    data = kitti_set(shared_data / "kitti_raw_layout", lidar_depth="lidar")
    report = run_protocol(FakeEngine(fake_spec()), data, DepthProtocol())
    # Computed independently, as in the published programs.
    assert report.figures.scaled[CONSTANT].mean.abs_rel == pytest.approx(0.34655, abs=1e-4)
    assert report.points == 13990 + 13473
    assert report.protocol.crop == "garg"


def test_reports_state_the_method(tmp_path: Path) -> None:
    data = as_set([road(), road(), road()])
    report = run_protocol(FakeEngine(SPEC), data, DepthProtocol())
    text = text_report(report)
    for word in (
        "ratio of medians",
        "whole image",
        "80 m",
        CONSTANT,
        ROW_MEDIAN,
        "standard deviation",
    ):
        assert word in text
    values = json.loads(json.dumps(json_report(report)))
    assert values["abs_rel"] < 2e-3 and len(values["per_image"]) == 3
    assert set(values["baselines"]) == {"constant_depth", "row_median_depth"}
    draw_extremes(
        tmp_path / "a" / "p.png", report, data, DepthPredictor(FakeEngine(SPEC), "stretch")
    )
    assert (tmp_path / "a" / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("heights_m", "text"),
    [
        ((0.0, 1.65), "height of the camera not known"),
        ((1.65, 1.65), "camera 1.65 m above the road"),
        ((1.9, 1.2), "camera 1.2 to 1.9 m above the road"),
    ],
)
def test_reports_state_the_height_of_the_camera(heights_m: tuple[float, float], text: str) -> None:
    data = as_set([road(), road()])
    samples = [
        replace(sample, camera_height_m=height_m)
        for sample, height_m in zip(data.samples, heights_m, strict=True)
    ]
    report = run_protocol(FakeEngine(SPEC), replace(data, samples=samples), DepthProtocol())
    assert text in text_report(report) and text in json_report(report)["method"]


def test_a_model_that_loses_to_a_baseline_is_reported() -> None:
    """Two level roads: one seen twice as far, with equal scales; one with scales that differ."""
    engine = answering(
        [lambda w: road_depth(w) * 2.0] * 2
        + [lambda w: road_depth(w), lambda w: road_depth(w) * 0.5]
    )
    data = joined_set([as_set([road(), road()], "first"), as_set([road(), road()], "second")])
    report = run_protocol(engine, data, DepthProtocol())
    assert list(report.drives) == ["first", "second"]
    first, second = (report.drives[name] for name in ("first", "second"))
    assert first.scaled[MODEL].mean.abs_rel < 2e-3
    assert first.unscaled[MODEL].mean.abs_rel == pytest.approx(1.0, abs=0.1)  # capped at 80 m
    assert first.scaled[MODEL].scale_spread < 1e-3
    # Factors of 1 and 2: their standard deviation is a third of their median.
    assert second.scaled[MODEL].scale_spread == pytest.approx(1 / 3, rel=1e-2)
    text = text_report(report)
    assert "abs_rel, median-scaled: fake is better than constant depth by" in text
    assert "abs_rel, unscaled: fake is worse than constant depth by" in text
    assert "first, unscaled: not better than row median depth" in text
    assert "first, median-scaled: not better than constant depth" not in text
    drives = {line.split()[0]: line.split() for line in text.splitlines() if "%" in line}
    assert drives["second"][1] == "2" and drives["second"][-2] == "33.3"
    values = json_report(report)
    assert values["drives"]["first"]["unscaled"]["abs_rel"] == pytest.approx(
        first.unscaled[MODEL].mean.abs_rel
    )
    assert values["unscaled"]["abs_rel"] > values["abs_rel"]
    assert len(values["remarks"]["none"]) == 2 and values["per_image"][3]["drive"] == "second"


def test_unscaled_figures_stand_alone_without_scaling() -> None:
    report = run_protocol(FakeEngine(SPEC), as_set([road()]), DepthProtocol(scaling="none"))
    assert report.figures.scaled[MODEL].mean == report.figures.unscaled[MODEL].mean
    assert "median-scaled" not in text_report(report) and "unscaled" in text_report(report)


def test_several_drives_in_one_call(
    make_bundle: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two folders of images with depth images of 9 and of 18 m; the model predicts 9 m."""
    bundle = make_bundle(np.full((32, 64), 9.0, dtype=np.float32), np.eye(4))
    (tmp_path / "calib.txt").write_text("P2: 50 0 32 0 0 50 16 0 0 0 1 0\n")
    images, depths = [], []
    for name, meters in (("near", 9), ("far", 18)):
        images.append(str(tmp_path / name / "rgb"))
        depths.append(str(tmp_path / name / "depth"))
        for folder in (images[-1], depths[-1]):
            Path(folder).mkdir(parents=True)
        for index in range(2):
            rgb, depth = (
                np.zeros((32, 64, 3), np.uint8),
                np.full((32, 64), meters * 256, np.uint16),
            )
            cv2.imwrite(f"{images[-1]}/{index}.png", rgb)
            cv2.imwrite(f"{depths[-1]}/{index}.png", depth)
    out = tmp_path / "m.json"
    command = ["depth", "--model", str(bundle), "--threads", "1", "--images", *images]
    calib = ["--calib", str(tmp_path / "calib.txt")]
    assert main([*command, "--ground-truth", *depths, *calib, "--json", str(out)]) == 0
    drives = json.loads(out.read_text())["drives"]
    assert list(drives) == ["near/rgb", "far/rgb"]
    assert [d["images"] for d in drives.values()] == [2, 2]
    assert [d["abs_rel"] for d in drives.values()] == pytest.approx([0, 0], abs=1e-6)
    assert [d["unscaled"]["abs_rel"] for d in drives.values()] == pytest.approx([0, 0.5], abs=1e-6)
    assert "far/rgb" in capsys.readouterr().out
    assert main([*command, "--ground-truth", depths[0], *calib]) == 1
    assert "expected a folder of depth images for each" in capsys.readouterr().err


def _paired(folder: Path) -> list[str]:
    return ["--images", str(folder), "--ground-truth", str(folder), "--calib", str(folder)]


def test_command(make_bundle: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bundle = make_bundle(np.full((32, 64), 9.0, dtype=np.float32), np.eye(4))
    out, image = tmp_path / "m.json", tmp_path / "p.png"
    command = ["depth", "--model", str(bundle), "--threads", "1"]
    street = ["--synthetic", "9004", "--frames", "1"]
    assert main([*command, *street, "--json", str(out), "--plot", str(image)]) == 0
    values = json.loads(out.read_text())
    # The model predicts a constant: it equals that baseline.
    assert values["abs_rel"] == pytest.approx(values["baselines"]["constant_depth"]["abs_rel"])
    assert image.is_file() and str(out) in capsys.readouterr().out
    for wrong, reason in (
        ([], "0 kinds of images"),
        (["--images", str(tmp_path), *street], "2 kinds of images"),
        (["--images", str(tmp_path)], "--images needs --ground-truth"),
        ([*_paired(tmp_path), "--camera-height", "0"], "--camera-height is 0.0"),
        (["--kitti", str(tmp_path)], "contains no KITTI raw drive"),
        (["--kitti", str(tmp_path), "--split", "best"], "no split 'best'"),
        (["--kitti", str(tmp_path), "--camera", "7"], "the camera is '7'"),
        ([*street, "--threads", "0"], "--threads is 0"),
        ([*street, "--model", "nothing"], "no model 'nothing'"),
    ):
        assert main([*command, *wrong]) == 1
        assert reason in capsys.readouterr().err
