"""The options that name a model bundle and its engine, in every command that has them."""

from __future__ import annotations

import argparse

import pytest

from sfm_ros.cli import demo, evaluate
from sfm_ros.cli.engine_options import (
    add_engine_options,
    with_default_model,
    with_engine_options,
)
from sfm_ros.config import ENGINES, PRECISIONS, ModelConfig
from sfm_ros.engines.factory import KITTI_MODEL
from sfm_ros.errors import ConfigError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return parser.parse_args(words)


def test_what_is_not_given_is_that_of_the_configuration() -> None:
    config = ModelConfig(bundle="mine", engine="onnx", precision="int8", threads=3)
    assert with_engine_options(config, parsed()) == config
    assert with_engine_options(config, parsed("--precision", "fp32")) == ModelConfig(
        bundle="mine", engine="onnx", precision="fp32", threads=3
    )
    words = ("--model", "other", "--engine", "openvino", "--precision", "bf16", "--threads", "1")
    assert with_engine_options(config, parsed(*words)) == ModelConfig(
        bundle="other", engine="openvino", precision="bf16", threads=1
    )


@pytest.mark.parametrize("threads", ["0", "65"])
def test_threads_out_of_range_are_refused(threads: str) -> None:
    with pytest.raises(ConfigError, match=f"--threads is {threads}, expected 1 to 64"):
        with_engine_options(ModelConfig(), parsed("--threads", threads))


@pytest.mark.parametrize(
    "parse",
    [
        lambda words: demo.parse(words),
        lambda words: evaluate.parse(["bag", "drive", "--out", "out", *words]),
        lambda words: evaluate.parse(["depth", "--synthetic", "1", *words]),
    ],
    ids=["demo", "bag", "depth"],
)
def test_every_engine_and_precision_is_a_choice(
    parse: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for engine in ENGINES:
        for precision in PRECISIONS:
            options = parse(["--engine", engine, "--precision", precision])  # type: ignore[operator]
            assert (options.engine, options.precision) == (engine, precision)
    with pytest.raises(SystemExit):
        parse(["--engine", "abacus"])  # type: ignore[operator]
    assert "invalid choice: 'abacus'" in capsys.readouterr().err


def test_kitti_gets_its_model_unless_another_is_named() -> None:
    default = ModelConfig()
    assert with_default_model(default, "kitti").bundle == KITTI_MODEL
    assert with_default_model(default, "bag") == default == with_default_model(default, None)
    named = ModelConfig(bundle="road")
    assert with_default_model(named, "kitti") == named
