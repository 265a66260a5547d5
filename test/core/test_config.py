"""The run-time configuration: YAML round trip and refused values."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sfm_ros.config import (
    SfmConfig,
    config_from_dict,
    config_to_dict,
    iter_fields,
    load_config,
    refuse_unknown,
)
from sfm_ros.errors import ConfigError
from sfm_ros.old_options import REMOVED, RENAMED


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = config_from_dict({"window": {"max_gap_s": 2}, "node": {"odom_frame": "map"}})
    path = tmp_path / "sfm.yaml"
    path.write_text(yaml.safe_dump(config_to_dict(config)))
    assert load_config(path) == config
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": config_to_dict(config)}}))
    assert load_config(path) == config


def test_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == SfmConfig()


def test_every_option_is_described() -> None:
    for name, option, _ in iter_fields():
        assert len(option.metadata["description"]) > 10, name


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"windw": {}}, "unknown block 'windw'"),
        ({"window": {"max_gap": 1.0}}, "unknown key 'window.max_gap'.*max_gap_s"),
        ({"window": {"max_gap_s": "long"}}, "expected float"),
        ({"window": {"max_gap_s": -1.0}}, "at least 0"),
        ({"model": {"threads": True}}, "expected int"),
        ({"model": {"threads": 1000}}, "at most 64"),
        ({"preprocess": {"input": "fisheye"}}, "expected one of: auto, rectified, raw"),
        ({"node": 3}, "expected a block"),
        ({"window": {"max_gap_s": float("nan")}}, "at least 0"),
    ],
)
def test_wrong_value_is_named(values: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        config_from_dict(values)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_renamed_option_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=f"'{old}' is now called '{new}'"):
        refuse_unknown([old], [], "parameter")
    assert new in {name for name, _, _ in iter_fields()}
    block, key = old.split(".")
    if block not in REMOVED:
        with pytest.raises(ConfigError, match=f"key '{old}' is now called '{new}'"):
            config_from_dict({block: {key: 1}})


def test_removed_options_are_refused_with_what_replaces_them() -> None:
    for old in REMOVED:
        with pytest.raises(ConfigError, match=f"'{old}' was removed: 'odometry.mode' chooses"):
            refuse_unknown([old], [], "parameter")
    with pytest.raises(ConfigError, match="block 'refine' was removed: 'odometry.mode' chooses"):
        config_from_dict({"refine": {"enabled": False}})


@pytest.mark.parametrize(
    "content",
    [
        b"- a list",
        b"{unclosed",
        b"a: {ros__parameters: {x: {}}}",
        b"1: {ros__parameters: 3}",
        bytes(range(256)),
        b"window: 2026-13-45",
    ],
)
def test_foreign_file_gives_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "missing.yaml")
