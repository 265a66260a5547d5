"""A document of somebody else names files of its own folder, and no others."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import yaml
from bundles import write_bundle
from limited import run_limited

from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import ModelError, UnsafeFileError
from sfm_ros.model_spec import ModelSpec
from sfm_ros.safety.files import member, read_bytes, sha256_of


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle", np.full((32, 64), 5.0, np.float32), np.eye(4))


def change(bundle, **values):
    path = bundle / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


@pytest.mark.parametrize(
    "name",
    ["/dev/zero", "../model.yaml", "sub/depth.onnx", "", ".", "..", "a\0b", "a\\b", 7, None, []],
)
def test_a_path_instead_of_a_name_is_refused(tmp_path, name):
    with pytest.raises(UnsafeFileError, match="plain name"):
        member(tmp_path, name)


def test_what_is_no_regular_file_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("link", "zero", "sub", "pipe"):
        with pytest.raises(UnsafeFileError, match="leaves the folder|not a regular file"):
            member(folder, name)
    for path in (folder / "zero", folder / "pipe", folder / "sub"):
        with pytest.raises(UnsafeFileError, match="not a regular file"):
            read_bytes(path, 100)
    (folder / "file").write_bytes(b"12345")
    (folder / "inner").symlink_to("file")
    assert member(folder, "inner").read_bytes() == read_bytes(folder / "file", 5) == b"12345"
    with pytest.raises(UnsafeFileError, match="more than 4 bytes"):
        read_bytes(folder / "file", 4)
    assert member(folder, "missing") == folder / "missing"


@pytest.mark.parametrize("name", ["/dev/zero", "../depth.onnx", "pipe", "link"])
def test_a_bundle_names_its_own_files_only(bundle, name):
    (bundle.parent / "depth.onnx").write_bytes((bundle / "depth.onnx").read_bytes())
    (bundle / "link").symlink_to(bundle.parent / "depth.onnx")
    os.mkfifo(bundle / "pipe")
    change(bundle, depth_file=name)
    with pytest.raises(ModelError, match="plain name|leaves the folder|not a regular file"):
        ModelSpec.load(bundle)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("place", ["../secret.bin", "{outside}/secret.bin", "link.bin"])
def test_a_graph_reads_no_weights_outside_of_its_bundle(bundle, place, engine):
    """The libraries refuse them; a version that does not must not be admitted."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(engine, engine))
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    (bundle.parent / "secret.bin").write_bytes(bytes(4 * 32 * 64))
    (bundle / "link.bin").symlink_to(bundle.parent / "secret.bin")
    model = onnx.load(bundle / "depth.onnx")
    (weights,) = (entry for entry in model.graph.initializer if entry.name == "value")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    location = weights.external_data.add()
    location.key, location.value = "location", place.format(outside=bundle.parent)
    (bundle / "depth.onnx").write_bytes(model.SerializeToString())
    change(bundle, depth_sha256=sha256_of(bundle / "depth.onnx"))
    with pytest.raises(ModelError, match="cannot load .*depth.onnx"):
        create_engine(ModelConfig(bundle=str(bundle), engine=engine, threads=1))


def test_a_large_graph_is_hashed_in_little_memory(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as stream:
        stream.truncate(600 * 2**20)
    run = run_limited(
        "import sys; from pathlib import Path; from sfm_ros.model_spec import sha256_of\n"
        "print(sha256_of(Path(sys.argv[1])))\n",
        path,
        limit_mib=500,
    )
    assert run.code == 0, run.error
    assert run.peak_mib < 200
    path.write_bytes(b"abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"metric": "no"}, "'metric' is 'no', expected true or false"),
        ({"metric": 1}, "'metric' is 1, expected true or false"),
        ({"width": True}, "'width' is True, expected a whole number"),
        ({"width": 1e3}, "'width' is 1000.0, expected a whole number"),
        ({"width": 10**6}, "3 frames of 1000000x32, expected at most 64 million pixels"),
        ({"sequence_length": 10**5, "target_index": 1}, "expected at most 64 million pixels"),
        ({"training_fx": "20"}, "'training_fx' is '20', expected a finite number"),
        ({"training_fx": float("nan")}, "expected a finite number"),
        ({"training_fx": -1}, "expected positive and increasing"),
        ({"min_depth": 5.0, "max_depth": 1.0}, "expected positive and increasing"),
        ({"name": ["a"]}, "'name' is .*, expected text"),
        ({"depth_file": 3}, "'depth_file' is 3, expected text"),
        ({"depth_sha256": 3}, "'depth_sha256' is 3, expected text"),
        ({"metrics": {"a": "b"}}, "'metrics' is .*, expected numbers by their names"),
        ({"metrics": 3}, "'metrics' is 3, expected numbers by their names"),
        ({"card": {"a": 1}}, "'card' is .*, expected text"),
        ({7: 1, "x": 2}, r"unknown keys \['7', 'x'\]"),
        ({"format": "x" * 1000}, "follows the contract .{80}, this program"),
    ],
)
def test_every_field_of_a_bundle_has_its_type(bundle, values, reason):
    path = bundle / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
    with pytest.raises(ModelError, match=reason):
        ModelSpec.load(bundle)


def test_whole_numbers_are_floats_too(bundle):
    change(bundle, training_fx=20, metrics={"steps": 3})
    spec = ModelSpec.load(bundle)
    assert type(spec.training_fx) is float and spec.metrics == {"steps": 3}
