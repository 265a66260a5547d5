"""The script that draws the image of docs/depth.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from documentation.scripts import load_script
from small_bags import SmallSequence

from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.depth_config import DepthConfig


class Street(SmallSequence):
    """Stands in for the rendered street."""

    camera_height_m = 1.6


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("demo_figure")
    monkeypatch.setattr(module, "HeldOutStreet", Street)
    return module


def test_the_figure_has_four_panels_with_captions(
    script: ModuleType, make_bundle: Callable[..., Path]
) -> None:
    depth = np.repeat(np.linspace(4, 40, 64, dtype=np.float32)[None], 32, axis=0)
    model = ModelConfig(bundle=str(make_bundle(depth, np.eye(4))), threads=1)
    shown = script.draw(SfmConfig(model=model, depth=DepthConfig(mode="network")), 3)
    assert shown.shape[1] == script.WIDTH and shown.dtype == np.uint8
    half = shown.shape[0] // 2
    bar = half * 20 // (20 + 2 * 32)  # a caption of 20 pixels above an image of twice its size
    for top in (0, half):
        caption = shown[top : top + bar]
        assert caption.max() > 150 and np.median(caption) == 20
    network = cv2.cvtColor(shown[half // 2, script.WIDTH // 2 :][None], cv2.COLOR_RGB2GRAY)[0]
    assert network[20] > network[-20] + 100, "near is bright"


def test_a_frame_that_is_not_there_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--frame", "12", "--out", str(tmp_path / "a.png")]) == 1
    assert "--frame is 12, expected 0 to 11" in capsys.readouterr().err


def test_a_file_that_is_no_image_is_refused_before_the_run(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--out", "demo.txt"]) == 1
    assert "--out is demo.txt, expected an image file" in capsys.readouterr().err
