"""Every YAML or JSON file is bounded: no aliases, no depth, no endless numbers."""

from __future__ import annotations

import json
import time

import pytest
from limited import run_limited

from sfm_ros.config import load_config
from sfm_ros.errors import CalibrationError, ConfigError, ModelError, SourceError
from sfm_ros.evaluation.report.compare import load_runs
from sfm_ros.formats.calibration import read_camera
from sfm_ros.model_spec import ModelSpec
from sfm_ros.safety import limits
from sfm_ros.safety.documents import DocumentError, parse_json, parse_yaml, read_yaml

# Each level holds nine times the one before, as values or as keys that are merged.
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10)
)


@pytest.mark.parametrize("text", [LAUGHS, MERGES, "a: &a [*a]"])
def test_aliases_are_refused_at_once(text):
    start = time.process_time()
    with pytest.raises(DocumentError, match="alias"):
        parse_yaml(text)
    assert time.process_time() - start < 1.0  # time of this process alone, whatever else runs


@pytest.mark.parametrize("bomb", ["LAUGHS", "MERGES"])
@pytest.mark.parametrize(
    "reading",
    [
        "from sfm_ros.config import load_config as read",
        "from sfm_ros.formats.calibration import read_camera as read",
        "from sfm_ros.model_spec import ModelSpec\n"
        "read = lambda path: ModelSpec.load(path.parent)",
        "from sfm_ros.bags.reader import BagFile\n"
        "read = lambda path: BagFile(path.parent / 'bag')",
    ],
)
def test_a_billion_values_take_no_memory(tmp_path, reading, bomb):
    text = {"LAUGHS": LAUGHS, "MERGES": MERGES}[bomb]
    for path in (tmp_path / "model.yaml", tmp_path / "bag" / "metadata.yaml"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    run = run_limited(
        f"{reading}\n"
        "import sys; from pathlib import Path; from sfm_ros.errors import SfmRosError\n"
        "try: read(Path(sys.argv[1]))\n"
        "except SfmRosError as error: print(error)\n",
        tmp_path / "model.yaml",
    )
    assert run.code == 0, run.error
    assert "alias" in run.output
    assert run.peak_mib < 300


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 50 + "]" * 50, "deeper than 32"),
        ("9" * 65, "number of more than 64 digits"),
        ("[0x" + "f" * 100_000 + "]", "number of more than 64 digits"),
        ("a: " + ":".join(["59"] * 100_000), "number of more than 64 digits"),
        ("!!int '" + "9" * 5000 + "'", "number of more than 64 digits"),
        ("- 1\n" * 200_001, "more than 200000 values"),
        ("#" + " " * limits.YAML_FILE, "more than 4194304 characters"),
        ("a: 1\n---\nb: 2", "another document"),
        ("!!timestamp x", "groupdict"),
        ("!!python/object/apply:os.getpid []", "python/object"),
        ("a: 2026-13-45", "month"),
        ("{[1]: 2}", "unhashable"),
    ],
)
def test_a_yaml_text_beyond_the_limits_is_refused(text, reason):
    with pytest.raises(DocumentError, match=reason):
        parse_yaml(text)


def test_ordinary_values_are_read():
    sha = "0123456789" * 6 + "0123"
    assert parse_yaml(f"sha: {sha}\nx: [1, 2.5, 1e-3, off]\n") == {
        "sha": sha,  # a number of base 8 would not have a 9
        "x": [1, 2.5, "1e-3", False],
    }
    assert parse_yaml("text: '" + "9" * 100 + "'") == {"text": "9" * 100}
    assert parse_yaml("a: 1\n---\n*x", first_only=True) == {"a": 1}
    assert parse_yaml("") is None
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "recursion"),
        ("[" * 40 + "]" * 40, "deeper than 32"),
        ('{"a":' * 40 + "1" + "}" * 40, "deeper than 32"),
        ("[" + "1" * 65 + "]", "more than 64 digits"),
        ("[" + "[]," * 2_000_000 + "[]]", "more than 2000000 lists"),
        ("{", "double quotes"),
    ],
)
def test_a_json_text_beyond_the_limits_is_refused(text, reason):
    with pytest.raises(DocumentError, match=reason):
        parse_json(text)


def test_every_reader_names_its_file(tmp_path):
    text = "a: " + "9" * 100
    path = tmp_path / "model.yaml"
    path.write_text(text)
    for error, read in (
        (ConfigError, lambda: load_config(path)),
        (CalibrationError, lambda: read_camera(path).intrinsics),
        (ModelError, lambda: ModelSpec.load(tmp_path)),
    ):
        with pytest.raises(error, match=r"model\.yaml.*64 digits"):
            read()
    (tmp_path / "summary.json").write_text(json.dumps({"a": 10**100}))
    with pytest.raises(SourceError, match=r"summary\.json.*64 digits"):
        load_runs([tmp_path])


def test_no_endless_file_is_read(tmp_path):
    (tmp_path / "model.yaml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "model.yaml")
    (tmp_path / "long.yaml").write_bytes(b"#" * (limits.YAML_FILE + 1))
    with pytest.raises(ConfigError, match="more than 4194304 bytes"):
        load_config(tmp_path / "long.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(DocumentError, match="not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
