"""Training configuration: YAML in and out, overrides, renamed options, and what is refused."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from sfm_ros.errors import ConfigError
from training.config import RENAMED, TrainConfig, flat_items, load_config, to_dict


def test_empty_recipe_is_default() -> None:
    assert load_config({}) == TrainConfig()


def test_plain_values_round_trip() -> None:
    config = load_config(
        {
            "data": {"prepared": ["a", "b"], "set_ratios": [1, 3]},
            "optim": {"learning_rate": "2e-4"},
        }
    )
    assert config.data.set_ratios == (1.0, 3.0)
    assert config.optim.learning_rate == 2e-4
    assert load_config(to_dict(config)) == config


def test_off_is_a_string() -> None:
    """YAML 1.1 reads it as false."""
    config = load_config({"network": {"learned_intrinsics": "per_window"}})
    assert config.network.learned_intrinsics == "per_window"
    config = load_config({}, ["network.learned_intrinsics=off"])
    assert config.network.learned_intrinsics == "off"


def test_unset_rate_may_be_given() -> None:
    assert load_config({}).optim.encoder_learning_rate is None
    assert load_config({}, ["optim.encoder_learning_rate=null"]) == TrainConfig()
    assert (
        load_config({}, ["optim.encoder_learning_rate=1e-5"]).optim.encoder_learning_rate == 1e-5
    )


def test_overrides_replace_file_values(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("width: 128\noptim:\n  steps: 5\n  batch_size: 2\n")
    config = load_config(path, ["optim.steps=7", "data.prepared=[x, y]", "run.device=cpu"])
    assert (config.width, config.optim.steps, config.optim.batch_size) == (128, 7, 2)
    assert config.data.prepared == ("x", "y")
    assert flat_items(config)["run.device"] == "cpu"


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_renamed_option_is_mapped_with_a_hint(old: str, new: str) -> None:
    """Recipes and checkpoints written before stay readable."""
    (section, old_key), new_key = old.split("."), new.split(".")[1]
    values = {"data": {"prepared": ["a", "b"]}}
    values.setdefault(section, {})[old_key] = [1.0, 2.0]
    with pytest.warns(FutureWarning, match=f"'{old}' is now called '{new}'"):
        config = load_config(values)
    assert getattr(getattr(config, section), new_key) == (1.0, 2.0)
    assert old_key in values[section] and new_key not in values[section]


def test_old_and_new_name_together_are_refused() -> None:
    recipe = {"data": {"prepared": ["a"], "set_ratios": [1.0]}}
    with pytest.raises(ConfigError, match="'data.repeat' is now called 'data.set_ratios'"):
        load_config(recipe, ["data.repeat=[0.5]"])


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
        ({"optim": 3}, ["optim", "block"]),
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
        (
            {"data": {"prepared": ["a"], "set_ratios": [1, 2]}},
            ["data.set_ratios", "2 ratios for 1"],
        ),
        ({"data": {"prepared": ["a"], "set_ratios": [-1]}}, ["data.set_ratios[0]", "at least 0"]),
        ({"data": {"prepared": ["a"], "set_ratios": [0]}}, ["data.set_ratios", "all zero"]),
        ({"data": {"color_changes": ["hue"]}}, ["data.color_changes[0]", "brightness, contrast"]),
        (
            {"data": {"reverse_probability": 0.5}, "network": {"sequence_length": 4}},
            ["data.reverse_probability", "odd"],
        ),
        ({"data": {"still_probability": 0.1}}, ["data.still_probability", "objective.l1_weight"]),
    ],
)
def test_mistakes_are_named(values: dict, named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(values)
    for text in named:
        assert text in str(caught.value)


@pytest.mark.parametrize("text", ["optim.steps", "=3", "optim..steps=3", "optim.nothing=3"])
def test_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load_config({}, [text])


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "\x00"])
def test_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match="recipe"):
        load_config(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_every_option_is_described() -> None:
    config = TrainConfig()
    blocks = [value for value in vars(config).values() if is_dataclass(value)]
    assert len(blocks) == 5
    for entry in (entry for block in blocks for entry in fields(block)):
        assert len(entry.metadata["description"]) > 10, entry.name


def test_every_recipe_loads(repository: Path) -> None:
    recipes = sorted((repository / "training" / "recipes").glob("*.yaml"))
    assert len(recipes) >= 2
    for recipe in recipes:
        assert load_config(recipe).optim.steps > 0
