"""The script that draws the figures of model cards."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from bundles import MakeBundle, tilted_wall
from documentation.scripts import load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("model_figures")


def test_every_street_is_a_row_of_image_and_depth(
    script: ModuleType, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "figure.png"
    bundle = make_bundle(tilted_wall(), np.eye(4))
    seeds = ["9100", "9101"]
    assert script.main(["--model", str(bundle), "--out", str(out), "--rendered", *seeds]) == 0
    shown = cv2.imread(str(out))
    height = round(script.WIDTH * 256 / 832)
    assert shown.shape == (2 * height + 4, 2 * script.WIDTH + 4, 3)
    depths = shown[:, script.WIDTH + 4 :]
    np.testing.assert_array_equal(depths[:height], depths[height + 4 :])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--out", "a.png"], "expected --rendered or --images"),
        (["--out", "a.png", "--images", "b.png"], "--images needs --calib"),
        (["--out", "a.png", "--images", "a.png", "--calib", "c"], "--out a.png is an input, too"),
        (["--out", "a", "--rendered", "9100"], "--out is a, expected an image file"),
    ],
)
def test_options_are_checked_first(
    script: ModuleType, capsys: pytest.CaptureFixture[str], options: list[str], expected: str
) -> None:
    assert script.main(options) == 1
    assert expected in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(
    script: ModuleType, make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    bundle, out = make_bundle(tilted_wall(), np.eye(4)), tmp_path / "file" / "figure.png"
    assert script.main(["--model", str(bundle), "--out", str(out), "--rendered", "9100"]) == 1
    assert "model_figures: ERROR:" in capsys.readouterr().err
