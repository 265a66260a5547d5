"""The documentation's commands, typed in their order in a fresh clone with few frames and steps.

They run as a reader would run them: in an environment that scripts/demo.sh makes, with a home that
is empty, and on recordings that stand in for the reader's. Where a page shows the output, that of
the command has the same lines, whatever the numbers in them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation.fenced import FencedCommand, commands
from documentation.stand_ins import FRAMES, make_stand_ins

pytestmark = pytest.mark.slow

ORDER = ("README.md", "docs/train_your_own.md", "docs/evaluation.md", "docs/troubleshooting.md")
ELSEWHERE = {
    r"ros2|rosdep|colcon|/opt/ros|sfm_ws|COLCON_IGNORE|src/sfm_ros": "needs an installed ROS",
    r"kitti_raw|--split|2011_09_26|0001/|DRIVE/": "needs data of KITTI",
}
"""Pattern of commands that cannot run in a fresh clone -> why."""
FEWER = {
    "scripts/demo.sh": f"--frames {FRAMES} --rate 0",
    "scripts/test.sh": "test/test_words.py -q",
    "training/prepare.py synthetic": "--seeds 0-1 --frames 8",
    "training/train.py": "--set optim.steps=2 --set run.validate_every=1 --set run.threads=1",
}
"""Start of a command -> options that make it short."""
EXIT_CODES = {"sfm_doctor": (0, 1)}
"""The doctor fails where no camera runs."""
OF_LONG_RUNS = r"ALARM|stopping after|stopped at|continue with|WARNING|OK  |step \d"
"""Lines of an output that depend on how long something ran."""
LIMIT_S = 3600
OWN = ("SFM_", "XDG_", "PYTHON", "ROS_", "AMENT_", "VIRTUAL_ENV", "LD_LIBRARY", "_ROS_WHEELS")


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the repository, with the recordings that the documentation names."""
    folder = tmp_path_factory.mktemp("fresh")
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(repository), str(folder / "clone")]
    subprocess.run(command, check=True)
    make_stand_ins(folder / "clone")
    return folder / "clone"


def environment(clone: Path, is_active: bool) -> dict[str, str]:
    """That of a reader with an empty home, in whose terminal the environment may be active."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    variables["HOME"] = str(clone.parent / "home")
    Path(variables["HOME"]).mkdir(exist_ok=True)
    folders = [
        f for f in variables["PATH"].split(":") if not (Path(f).parent / "pyvenv.cfg").exists()
    ]
    if is_active:
        folders.insert(0, str(clone / ".venv" / "bin"))
    return variables | {"PATH": ":".join(folders), "ROS_LOCALHOST_ONLY": "1"}


def to_run() -> Iterator[FencedCommand]:
    """The commands that can run in a fresh clone, in the order of the pages."""
    found = commands(Path(__file__).resolve().parents[2])
    for page in ORDER:
        for command in found:
            if command.page == page and not any(re.search(p, command.text) for p in ELSEWHERE):
                yield command


def shortened(command: FencedCommand) -> str:
    """The command with the options that make it short, before a comment."""
    text = re.sub(r"\s+#.*", "", command.text)
    for start, options in FEWER.items():
        if text.startswith((start, f"python {start}")):
            text = f"{text} {options}"
    return text


def shape(line: str) -> re.Pattern[str]:
    """Matches lines with other numbers; ``...`` stands for anything."""
    parts = re.split(r"(\.\.\.|\d+(?:\.\d+)?(?:e[-+]\d+)?)", line.strip())
    forms = {"...": ".*"}
    known = [forms.get(part, r"[\d.e+-]+" if part[:1].isdigit() else None) for part in parts]
    text = [form or re.escape(part) for form, part in zip(known, parts, strict=True)]
    return re.compile(re.sub(r"(\\ )+", r"\\s+", "".join(text)))


def missing_lines(command: FencedCommand, output: str) -> list[str]:
    """Lines of the page that the output does not have, in this order."""
    lines, missing = iter(output.splitlines()), []
    for expected in command.output:
        if not expected.strip() or re.match(OF_LONG_RUNS, expected.strip()):
            continue
        if not any(shape(expected).search(line) for line in lines):
            missing.append(expected)
            lines = iter(output.splitlines())
    return missing


def test_shape_of_a_line() -> None:
    shown, printed = "step 0: photo 0.0152 (1.234), ...", "step 7: photo 9e-05 (2), yaw 1"
    assert shape(shown).search(printed) and not shape(shown).search("step 7: photo (2), yaw")


def test_commands_run_as_printed(clone: Path) -> None:
    is_active, done, problems = False, 0, []
    for command in to_run():
        text = shortened(command)
        if text.startswith(". .venv"):
            is_active = True
            continue
        run = subprocess.run(
            ["bash", "-c", text],
            cwd=clone,
            env=environment(clone, is_active),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
        )
        print(f"{command}: {text}: exit code {run.returncode}")
        if run.returncode not in EXIT_CODES.get(command.words[0][0], (0,)):
            problems.append(f"{command}: {text}: exit code {run.returncode}\n{run.stdout[-2000:]}")
        missing = missing_lines(command, run.stdout)
        if missing:
            problems.append(f"{command}: {text}: no lines like {missing} in\n{run.stdout[-3000:]}")
        done += 1
    assert problems == [], "\n\n".join(problems)
    assert done > 25
