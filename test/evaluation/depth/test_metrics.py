"""Depth errors against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.metrics import (
    crop_mask,
    depth_errors,
    summarize,
    valid_pixels,
)

GROUND_TRUTH = np.array([[2.0, 4.0], [8.0, 10.0]])
PREDICTION = np.array([[2.0, 5.0], [4.0, 10.0]])  # errors 0, +1, -4, 0


def test_metrics_by_hand():
    found = depth_errors(PREDICTION, GROUND_TRUTH, scaling="none")
    assert found.abs_rel == pytest.approx((0 + 1 / 4 + 4 / 8 + 0) / 4)
    assert found.sq_rel == pytest.approx((0 + 1 / 4 + 16 / 8 + 0) / 4)
    assert found.rmse == pytest.approx(np.sqrt(17 / 4))
    assert found.rmse_log == pytest.approx(np.sqrt((np.log(1.25) ** 2 + np.log(2) ** 2) / 4))
    assert found.abs_diff == pytest.approx(5 / 4)
    assert found.abs_log == pytest.approx((np.log(1.25) + np.log(2)) / 4)
    assert found.log10 == pytest.approx((np.log10(1.25) + np.log10(2)) / 4)
    assert (found.a1, found.a2, found.a3) == (0.5, 0.75, 0.75)  # 1.25 itself is not below 1.25
    assert found.scale == 1.0 and found.coverage == 1.0


def test_median_scaling_removes_any_factor():
    found = depth_errors(GROUND_TRUTH * 0.01, GROUND_TRUTH)
    assert found.scale == pytest.approx(100) and found.abs_rel == pytest.approx(0, abs=1e-12)
    assert found.a1 == 1.0
    # medians 6 of the ground truth and 4.5 of the prediction
    assert depth_errors(PREDICTION, GROUND_TRUTH).scale == pytest.approx(6 / 4.5)


def test_given_factor_is_applied():
    found = depth_errors(GROUND_TRUTH, GROUND_TRUTH, scaling=1.5)
    assert found.abs_rel == pytest.approx(0.5) and found.scale == 1.5


def test_caps_select_ground_truth_and_clip_prediction():
    ground_truth = np.array([[1.0, 50.0, 80.0, 200.0]])
    prediction = np.array([[1.0, 500.0, 1.0, 1.0]])
    found = depth_errors(prediction, ground_truth, scaling="none", max_depth=80.0)
    assert found.abs_diff == pytest.approx((0 + 30) / 2)  # 500 counts as 80; 80 and 200 do not
    low = depth_errors(np.full((1, 4), 1e-9), ground_truth, scaling="none", min_depth=0.5)
    assert low.abs_rel == pytest.approx((0.5 / 1 + 49.5 / 50) / 2)


def test_unknown_and_masked_pixels_are_not_compared():
    ground_truth = np.array([[2.0, 0.0, np.nan, np.inf, 4.0, -1.0]])
    prediction = np.array([[2.0, 9.0, 9.0, 9.0, 8.0, 9.0]])
    assert valid_pixels(ground_truth).tolist() == [[True, False, False, False, True, False]]
    assert depth_errors(prediction, ground_truth, "none").abs_diff == 2.0
    mask = np.array([[True, True, True, True, False, True]])
    assert depth_errors(prediction, ground_truth, "none", mask=mask).abs_diff == 0.0


def test_missing_prediction_lowers_the_coverage():
    prediction = np.array([[2.0, np.nan], [0.0, 10.0]], dtype=np.float32)
    found = depth_errors(prediction, GROUND_TRUTH, "none")
    assert found.coverage == 0.5 and found.abs_rel == 0.0


def test_nothing_to_compare_is_none():
    assert depth_errors(PREDICTION, np.zeros((2, 2))) is None
    assert depth_errors(np.full((2, 2), np.nan), GROUND_TRUTH) is None


def test_set_means_are_over_images():
    predictions = [GROUND_TRUTH * 0.5, GROUND_TRUTH * 0.25]
    ratios = [2.0, 4.0]

    def of_set(scaling):
        return summarize([depth_errors(p, GROUND_TRUTH, scaling) for p in predictions], ratios)

    own = of_set("median")
    assert own.images == 2 and own.mean.abs_rel == pytest.approx(0, abs=1e-12)
    assert own.scale_median == pytest.approx(3.0) and own.scale_spread == pytest.approx(1 / 3)
    assert own.mean.scale == pytest.approx(3.0)
    common = of_set(own.scale_median)  # factor 3: 1.5 and 0.75 of the ground truth
    assert common.mean.abs_rel == pytest.approx((0.5 + 0.25) / 2)
    assert common.mean.a1 == 0.0 and common.mean.a2 == 1.0  # both below 1.25 squared
    assert of_set("none").mean.abs_rel == pytest.approx((0.5 + 0.75) / 2)


def test_wrong_input_is_refused():
    with pytest.raises(SfmRosError, match=r"\(2, 2\).*\(3, 2\)"):
        depth_errors(PREDICTION, np.ones((3, 2)))
    with pytest.raises(SfmRosError, match="mask"):
        depth_errors(PREDICTION, GROUND_TRUTH, mask=np.ones((1, 2), bool))
    with pytest.raises(SfmRosError, match="'mean'"):
        depth_errors(PREDICTION, GROUND_TRUTH, "mean")


def test_garg_crop_of_a_kitti_image():
    rows, columns = np.nonzero(crop_mask("garg", 375, 1242))
    assert (rows.min(), rows.max() + 1) == (153, 371)
    assert (columns.min(), columns.max() + 1) == (44, 1197)
