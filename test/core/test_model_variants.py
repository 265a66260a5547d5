"""The other precisions of a bundle in model.yaml."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from bundles import tilted_wall, write_bundle

from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.model_variants import GraphVariant


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with FP16 graphs, and figures of BF16."""
    folder = write_bundle(tmp_path / "net", tilted_wall(), np.eye(4))
    for part in ("depth", "pose"):
        (folder / f"{part}.fp16.onnx").write_bytes((folder / f"{part}.onnx").read_bytes() + b" ")
    spec = ModelSpec.load(folder)
    half = GraphVariant(
        depth_file="depth.fp16.onnx", pose_file="pose.fp16.onnx", metrics={"abs_rel_change": 0.001}
    )
    brain = dataclasses.replace(spec.graphs("bf16"), metrics={"t_err_change": 0.03})
    dataclasses.replace(spec, variants={"fp16": half, "bf16": brain}).save(folder)
    return folder


def test_variants_are_written_with_their_hashes(bundle: Path) -> None:
    spec = ModelSpec.load(bundle)
    half = spec.graphs("fp16")
    assert (half.depth_file, half.pose_file) == ("depth.fp16.onnx", "pose.fp16.onnx")
    assert len(half.depth_sha256) == 64 and half.depth_sha256 != spec.depth_sha256
    assert half.metrics == {"abs_rel_change": 0.001}
    assert spec.save(bundle) == spec


def test_fp32_and_bf16_run_the_same_graphs(bundle: Path) -> None:
    spec = ModelSpec.load(bundle)
    plain, brain = spec.graphs(), spec.graphs("bf16")
    assert (plain.depth_file, plain.pose_sha256) == (spec.depth_file, spec.pose_sha256)
    assert dataclasses.replace(brain, metrics={}) == plain
    assert brain.metrics == {"t_err_change": 0.03}
    bare = dataclasses.replace(spec, variants={})
    assert bare.graphs("bf16") == plain


def test_absent_variant_names_what_there_is(bundle: Path) -> None:
    with pytest.raises(ModelError, match=r"no graphs for 'int8'; it has fp32, bf16, fp16; .*add"):
        ModelSpec.load(bundle).graphs("int8")


def test_damaged_graph_of_a_variant_is_found(bundle: Path) -> None:
    (bundle / "pose.fp16.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"pose\.fp16\.onnx is damaged"):
        ModelSpec.load(bundle)
    (bundle / "pose.fp16.onnx").unlink()
    with pytest.raises(ModelError, match=r"pose\.fp16\.onnx"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize(
    ("variants", "named"),
    [
        (3, "'variants' is 3"),
        ({"int4": {}}, "unknown variants 'int4', expected some of bf16, fp16"),
        ({"fp16": "depth.onnx"}, r"variants\.fp16 is 'depth\.onnx'"),
        ({"fp16": {"depth_file": "a"}}, r"variants\.fp16: .*missing keys \['pose_file'\]"),
        ({"fp16": {"depth_file": "a", "pose_file": 1}}, r"variants\.fp16: 'pose_file' is 1"),
        ({"fp16": {"depth_file": "../a", "pose_file": "b"}}, r"'\.\./a' is not the plain name"),
    ],
)
def test_wrong_variants_are_named(bundle: Path, variants: object, named: str) -> None:
    _edit(bundle, variants=variants)
    with pytest.raises(ModelError, match=named):
        ModelSpec.load(bundle)


def test_bundles_without_variants_are_read(bundle: Path) -> None:
    _edit(bundle, variants=None, pose_input=None)
    spec = ModelSpec.load(bundle)
    assert (spec.variants, spec.pose_input) == ({}, "pixels")


def test_unknown_pose_input_is_named(bundle: Path) -> None:
    _edit(bundle, pose_input="sound")
    with pytest.raises(ModelError, match="looks at 'sound', expected one of pixels, features"):
        ModelSpec.load(bundle)


def _edit(bundle: Path, **changes: object) -> None:
    path = bundle / "model.yaml"
    values = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))


@pytest.mark.parametrize(
    ("metrics", "loss"),
    [
        ({"abs_rel_change": 0.01, "t_err_change": -0.2}, 0.01),
        ({"abs_rel_change": 0.01, "t_err_change": 0.02}, 0.02),
        ({"abs_rel_change": 0.01}, None),
        ({"t_err_change": 0.01, "depth_difference_median": 0.0}, None),
        ({"abs_rel_change": 0.01, "t_err_change": math.nan}, None),
        ({}, None),
    ],
)
def test_loss_is_known_only_where_both_were_measured(
    metrics: dict[str, float], loss: float | None
) -> None:
    assert GraphVariant(depth_file="a", pose_file="b", metrics=metrics).loss == loss
