"""A damaged checkpoint, or one made to do harm, ends in one line and takes no memory."""

from __future__ import annotations

import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from limited import run_limited
from training_runs import RECIPE, arguments

from sfm_ros.errors import ConfigError
from training import export, train
from training.data.sequence import PreparedSet
from training.fit.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.networks.encoders.resnet import _read_state

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def one_step(wall_set: PreparedSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("one_step")
    (folder / "recipe.yaml").write_text(RECIPE.format(prepared=wall_set.path))
    command = arguments(folder / "recipe.yaml", folder / "run", "--set", "optim.steps=1")
    train.build(train.parse(command)).run()
    return folder / "run"


@pytest.fixture
def run(one_step: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(one_step, tmp_path / "run"))


def rewrite(path: Path, change: Change) -> None:
    contents = load_checkpoint(path)
    change(contents)
    save_checkpoint(path, contents)


def set_entry(key: str, value: object) -> Change:
    return lambda contents: contents.update({key: value})


WRONG_TYPES = [
    ("config", [1]),
    ("model", {"a": 1}),
    ("model", {1: torch.zeros(1)}),
    ("average", torch.zeros(3)),
    ("optimizer", 3),
    ("step", "7"),
    ("step", True),
    ("step", -1),
    ("best", "good"),
    ("torch_rng", None),
    ("torch_rng", torch.zeros(3)),
    ("scaler", [1]),
    ("watch", "x"),
]


@pytest.mark.parametrize(("key", "value"), WRONG_TYPES)
def test_every_entry_has_its_type(run: Path, key: str, value: object) -> None:
    rewrite(run / "last.pt", set_entry(key, value))
    with pytest.raises(CheckpointError, match=f"damaged: '{key}' is "):
        load_checkpoint(run / "last.pt")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["model"].popitem(),
        lambda c: c["average"].popitem(),
        set_entry("average", None),
        set_entry("optimizer", None),
        set_entry("optimizer", {"state": {}, "param_groups": [3]}),
        lambda c: c["optimizer"].update(state=[1]),
        lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(7)),
        lambda c: c["optimizer"]["state"][0].pop("exp_avg_sq"),
        set_entry("torch_rng", torch.zeros(3, dtype=torch.uint8)),
        set_entry("watch", {"samples": []}),
        lambda c: c["watch"].update(samples=[3]),
        lambda c: c["watch"].update(samples=[{"gradient_norm": 1.0}]),
        lambda c: c["watch"].update(mean="x"),
        lambda c: c["config"].update(surprise=1),
        lambda c: c["config"].update(network=3),
        lambda c: c["config"]["network"].update(disparity_alpha="a", disparity_beta=0.0),
    ],
)
def test_a_state_that_does_not_fit_ends_in_one_line(
    run: Path, recipe: Path, capsys: pytest.CaptureFixture[str], change: Change
) -> None:
    rewrite(run / "last.pt", change)
    capsys.readouterr()
    assert train.main(arguments(recipe, run, "--resume", "--set", "optim.steps=2")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train: ERROR: ")


@pytest.mark.parametrize(
    "change",
    [
        set_entry("config", {"network": {"disparity_beta": 0.0, "disparity_alpha": 0.0}}),
        set_entry("config", {"width": 10**9}),
        set_entry("config", {1: 2}),
        set_entry("average", {}),
    ],
)
def test_export_ends_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change
) -> None:
    rewrite(run / "last.pt", change)
    capsys.readouterr()
    command = ["--checkpoint", str(run / "last.pt"), "--out", str(tmp_path / "bundle")]
    assert export.main(command) == 1
    assert capsys.readouterr().err.startswith("export: ERROR: ")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_raises_no_other_error(run: Path, seed: int) -> None:
    path, chance = run / "last.pt", random.Random(seed)
    data = bytearray(path.read_bytes())
    # The directory, the pickled values and some of the weights.
    for _ in range(20):
        data[chance.choice((-1, 1)) * chance.randrange(1, 6000)] = chance.randrange(256)
    path.write_bytes(data)
    try:
        load_checkpoint(path)
    except CheckpointError as error:
        assert len(str(error).splitlines()) == 1


def compressed(path: Path) -> Path:
    """The same archive with many zeros instead of the weights, packed."""
    target = path.with_name("bomb.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if "/data/" in member.filename:
                data = bytes(60 * 2**20)
            new.writestr(member, data, zipfile.ZIP_DEFLATED)
            if len(new.infolist()) > 12:
                break
    return target


def test_compressed_weights_are_refused(run: Path) -> None:
    bomb = compressed(run / "last.pt")
    assert bomb.stat().st_size < 2**21
    with pytest.raises(CheckpointError, match="its weights are compressed"):
        load_checkpoint(bomb)
    with pytest.raises(ConfigError, match="its weights are compressed"):
        _read_state(bomb, "resnet18")
    result = run_limited(
        "import sys; from pathlib import Path\n"
        "from training.fit.checkpoint import CheckpointError, load_checkpoint\n"
        "try: load_checkpoint(Path(sys.argv[1]))\n"
        "except CheckpointError as error: print(error)\n",
        bomb,
        limit_mib=8192,
    )
    assert result.code == 0 and "compressed" in result.output, result.error
    assert result.peak_mib < 600
