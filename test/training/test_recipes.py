"""Every recipe trains, assembled as in train.py, and the commands of its header are valid."""

from __future__ import annotations

import re
import shlex
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from wall import wall_frames

from training import prepare, train
from training.config import TrainConfig, flat_items, load_config
from training.data.batcher import build_batcher
from training.data.sequence import PreparedSet
from training.fit.optimizer import rate_factor
from training.preparation.writer import PreparedWriter

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.yaml"))
STEPS = 24
WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared set of eight frames along the wall, with depth and poses.

    Every third frame, because consecutive ones are less than a pixel apart.
    """
    path: Path = tmp_path_factory.mktemp("recording")
    writer = PreparedWriter(path, WIDTH, HEIGHT)
    frames = islice(wall_frames(24, WIDTH, HEIGHT), 0, None, 3)
    writer.add("recording", frames, "closed form", camera_height_m=1.65)
    writer.finish()
    return path


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_learns(recipe: Path, recording: Path, tmp_path: Path) -> None:
    """The loss of 24 steps over the same two batches is finite and falls.

    Overridden only because of the cost: the size (96x64), the batch (1), the prepared data (one
    small set instead of the recipe's), the ImageNet weights of the lite encoder (random ones).
    Networks, losses, rates and augmentation are the recipe's.
    """
    changes = [
        f"width={WIDTH}",
        f"height={HEIGHT}",
        f"data.prepared=[{recording}]",
        "data.set_ratios=[]",
        "network.pretrained=false",
        "optim.batch_size=1",
        "run.device=cpu",
        "run.seed=1",
    ]
    config = load_config(recipe, changes)
    arguments = ["--config", str(recipe), "--out", str(tmp_path / "run")]
    trainer = train.build(
        train.parse(arguments + [argument for text in changes for argument in ("--set", text)])
    )
    batcher = build_batcher(config, [PreparedSet.open(recording)])
    batches = [batcher.training_batch(step) for step in (0, 1)]
    trainer.model.train()

    parts = [trainer.step(batches[step % 2]) for step in range(STEPS)]

    losses = np.array([float(part["total"]) for part in parts])
    assert np.isfinite(losses).all()
    assert losses[-6:].mean() < 0.75 * losses[:2].mean(), losses
    for name, weight in expected_terms(config).items():
        assert (name in parts[0]) == (weight > 0), name


def expected_terms(config: TrainConfig) -> dict[str, float]:
    """Weights of the loss terms of a recipe, by the names of the reported parts."""
    objective = config.objective
    return {
        "photometric": objective.l1_weight + objective.ssim_weight,
        "smoothness": objective.smoothness_weight,
        "mask": objective.mask_weight,
        "consistency": objective.consistency_weight,
        "velocity": objective.velocity_weight,
        "depth_supervision": objective.depth_supervision_weight,
        "pose_supervision": objective.pose_supervision_weight,
        "teacher": objective.teacher_weight,
    }


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_header_prepares_the_sets_of_its_recipe(recipe: Path) -> None:
    header = [
        line.removeprefix("#") for line in recipe.read_text().splitlines() if line[:1] == "#"
    ]
    text = "\n".join(header).replace("\\\n", " ")
    commands = [
        line.split("prepare.py", 1)[1] for line in text.splitlines() if "prepare.py " in line
    ]
    commands = [command for command in commands if command.startswith(" ") and "--" in command]
    parsed = [prepare.parse(shlex.split(command)) for command in commands]
    config = load_config(recipe)
    assert {str(options.out) for options in parsed} == set(config.data.prepared)
    for options in parsed:
        assert (options.width, options.height) == (config.width, config.height)


def test_learning_rate_of_second_report() -> None:
    """35 % less every 25,000 of 200,000 steps, from 2e-4; its default keeps the rate."""
    folder = RECIPES[0].parent
    variable = load_config(folder / "resnet.yaml").optim
    rates = [
        variable.learning_rate * rate_factor(variable, step) for step in range(0, 200000, 25000)
    ]
    printed = [2.00e-4, 1.30e-4, 8.45e-5, 5.49e-5, 3.57e-5, 2.32e-5, 1.51e-5, 9.80e-6]
    assert rates == pytest.approx(printed, rel=2e-3)
    for name in ("default", "ssim"):
        fixed = load_config(folder / f"{name}.yaml").optim
        assert fixed.learning_rate * rate_factor(fixed, 199_999) == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("name", "l1", "ssim"),
    [
        ("dispnet_mask", 1.0, 0.0),
        ("default", 1.0, 0.0),
        ("default_vl", 1.0, 0.0),
        ("ssim", 0.15, 0.85),
        ("resnet", 0.15, 0.85),
        ("resnet_aug", 0.15, 0.85),
        ("vgg12", 0.15, 0.85),
        ("vgg16", 0.15, 0.85),
        ("reproduced", 1.0, 0.0),
        ("improved", 0.15, 0.85),
        ("ssim_b", 0.85, 0.15),
    ],
)
def test_photometric_weights_of_the_reports(name: str, l1: float, ssim: float) -> None:
    """Their programs add up two sources instead of taking the mean, of images in [-1, 1]."""
    objective = load_config(RECIPES[0].parent / f"{name}.yaml").objective
    sources, span = 2, 2
    assert objective.l1_weight == pytest.approx(sources * span * l1)
    assert objective.ssim_weight == pytest.approx(sources * ssim)


@pytest.mark.parametrize("name", ["reproduced", "improved", "ssim_b"])
def test_settings_of_third_report(name: str) -> None:
    config = load_config(RECIPES[0].parent / f"{name}.yaml")
    assert (config.optim.batch_size, config.network.sequence_length) == (4, 3)
    assert (config.objective.mask_weight, config.objective.smoothness_weight) == (0.2, 0.1)
    assert config.network.explainability_mask
    assert config.run.validate_every == 3000


def test_guide_names_existing_recipes_options_and_tests(repository: Path) -> None:
    guide = (repository / "docs" / "experiments.md").read_text(encoding="utf-8")
    for recipe in RECIPES:
        assert f"`{recipe.stem}`" in guide, recipe.stem
    options = flat_items(TrainConfig())
    for section, key in re.findall(r"\b(network|objective|data|optim|run)\.([a-z0-9_]+)", guide):
        assert f"{section}.{key}" in options
    file = ""
    for name, test in re.findall(r"`(test_\w+\.py|test/[\w/]+\.py)?(?:::(test_\w+))?`", guide):
        file = name or file
        if name or test:
            (path,) = repository.rglob(file if "/" in file else f"test/training/**/{file}")
            assert f"def {test}" in path.read_text(encoding="utf-8"), test
