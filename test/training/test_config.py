"""Recipes: what is read is what was written, and a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfm_ros.errors import ConfigError
from training.config import TrainConfig, flat_items, load_config, to_dict


def test_an_empty_recipe_is_the_defaults() -> None:
    assert load_config({}) == TrainConfig()


def test_a_recipe_survives_the_way_through_plain_values() -> None:
    config = load_config(
        {"data": {"prepared": ["a", "b"], "repeat": [1, 3]}, "optim": {"learning_rate": "2e-4"}}
    )
    assert config.data.repeat == (1.0, 3.0)
    assert config.optim.learning_rate == 2e-4
    assert load_config(to_dict(config)) == config


def test_off_is_a_word() -> None:
    """YAML 1.1 reads it as false."""
    config = load_config({"network": {"learned_intrinsics": "per_window"}})
    assert config.network.learned_intrinsics == "per_window"
    config = load_config({}, ["network.learned_intrinsics=off"])
    assert config.network.learned_intrinsics == "off"


def test_overrides_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("width: 128\noptim:\n  steps: 5\n  batch_size: 2\n")
    config = load_config(path, ["optim.steps=7", "data.prepared=[x, y]", "run.device=cpu"])
    assert (config.width, config.optim.steps, config.optim.batch_size) == (128, 7, 2)
    assert config.data.prepared == ("x", "y")
    assert flat_items(config)["run.device"] == "cpu"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"optim": {"stepz": 3}}, ["optim.stepz", "steps"]),
        ({"netwrok": {}}, ["netwrok", "network"]),
        ({"optim": {"steps": "many"}}, ["optim.steps", "int"]),
        ({"optim": {"steps": True}}, ["optim.steps", "int"]),
        ({"optim": {"steps": 0}}, ["optim.steps", "1"]),
        ({"optim": {"learning_rate": "fast"}}, ["optim.learning_rate", "number"]),
        ({"optim": {"learning_rate": float("nan")}}, ["optim.learning_rate", "finite"]),
        ({"optim": 3}, ["optim", "section"]),
        ({"network": {"depth": "resnet"}}, ["network.depth", "dispnet, vgg16"]),
        ({"network": {"pretrained": 1}}, ["network.pretrained", "bool"]),
        (
            {"width": 64, "height": 64, "optim": {"precision": "bf16"}},
            ["optim.precision", "64x64"],
        ),
        ({"network": {"learned_intrinsics": True}}, ["network.learned_intrinsics", "str"]),
        ({"network": {"learned_intrinsics": "shared"}}, ["shared", "data.scale_crop"]),
        ({"objective": {"smoothness": "third_order"}}, ["second_order, edge_aware"]),
        ({"objective": {"smoothness_of": "color"}}, ["disparity, depth"]),
        ({"objective": {"ssim_weight": -0.1}}, ["objective.ssim_weight", "-0.1"]),
        ({"objective": {"smoothness_scale_divisor": 0}}, ["smoothness_scale_divisor", "1"]),
        ({"objective": {"auto_mask": True}}, ["minimum_reprojection"]),
        ({"objective": {"l1_weight": 0}}, ["teaches nothing", "objective.ssim_weight"]),
        ({"data": {"prepared": "folder"}}, ["data.prepared", "list"]),
        ({"data": {"prepared": ["a"], "repeat": [1, 2]}}, ["data.repeat", "2 shares for 1"]),
        (
            {"data": {"reverse_probability": 0.5}, "network": {"sequence_length": 4}},
            ["data.reverse_probability", "odd"],
        ),
    ],
)
def test_a_mistake_is_named(values: dict, named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(values)
    for text in named:
        assert text in str(caught.value)


@pytest.mark.parametrize("text", ["optim.steps", "=3", "optim..steps=3", "optim.nothing=3"])
def test_a_wrong_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load_config({}, [text])


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="recipe"):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_every_recipe_loads(repository: Path) -> None:
    recipes = sorted((repository / "training" / "recipes").glob("*.yaml"))
    assert len(recipes) >= 2
    for recipe in recipes:
        assert load_config(recipe).optim.steps > 0
