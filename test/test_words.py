"""The field's own words: those that the project has replaced do not return."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

REPLACED = {
    r"pictures?": "image; frame if it has a stamp; figure or plot for a drawing",
    r"(?<!ground )(?<!ground-)(?<!ground_)(?<!groundtruth)truths?": "ground truth",
    r"true[ _]?paths?": "ground-truth trajectory",
    r"colou(?:r)\w*": "color, as ROS spells it",
    r"gr(?:e)y\w*": "gray, as ROS and OpenCV spell it",
    r"met(?:re)s?": "meter",
    r"spells?": "status interval",
    r"belie(?:f|v)\w*": "confidence, consistency mask; plausible, accepted",
    r"mountings?": "extrinsics, T_base_camera",
    r"verdicts?": "check result",
    r"outcomes?": "RunResult, result",
    r"lockstep": "offline, deterministic replay",
    r"judg\w*": "check, validate, is_valid",
    r"scanners?": "lidar",
    r"rid(?:e|es)": "recording, sequence",
    r"rivals?": "baseline",
    r"inertia": "constant-velocity model, motion model",
    r"unseen": "untracked, held out",
    r"(?:laid|lay)[ _]over|overlay\w*": "aligned",
    r"anew": "restart, a new segment",
    r"hears?|heard": "receives, subscribes",
    r"tells?|told": "reports, prints, notifies",
    r"says?|said": "reports, returns, logs",
    r"wants?|wanted": "requested, needs, has_subscribers",
    r"news": "changed",
    r"twins?": "duplicate",
    r"strays?": "out of order, leftover",
    r"laps?": "stage time",
    r"disagree\w*": "inconsistency, differ",
}
"""Pattern -> what the project writes instead. Words that are right in another sense (place, way,
share, drive, corner, floor) are not here."""

ALLOWED = {
    ("sfm_ros/config.py", "mounting"): "a parameter of 0.1, refused with its new name",
    ("sfm_ros/config.py", "unseen"): "a parameter of 0.1, refused with its new name",
    ("training/fit/alarm.py", "said"): "an entry of checkpoints of 0.1",
    ("test/training/fit/test_train_alarm.py", "said"): "an entry of checkpoints of 0.1",
    ("sfm_ros/cli/evaluate.py", "truth"): "options of 0.1, refused with their new names",
    ("sfm_ros/cli/evaluate.py", "metre"): "an option of 0.1, refused with its new name",
    ("sfm_ros/evaluation/runs/bag_ground_truth.py", "truth"): "how users name their topics",
}
SKIPPED = ("CHANGELOG.md", "LICENSE", "test/test_words.py", "test/data/")
LIMIT = 20


@pytest.fixture(scope="module")
def texts(repository: Path) -> dict[str, str]:
    """Every text file of the project; in an unpacked archive without git the test cannot run."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True
    )
    if listing.returncode:
        pytest.skip("no git checkout")
    found = {}
    for name in listing.stdout.split("\0"):
        path = repository / name
        if name and not name.startswith(SKIPPED) and path.is_file():
            try:
                found[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


def occurrences(pattern: str, text: str) -> list[str]:
    """Whole words; a name such as ``is_told`` or ``TruePath`` is split into its words."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()
    words = re.sub(r"\s*\n[#\s]*", " ", words)
    return [match.group() for match in re.finditer(rf"(?<![a-z])(?:{pattern})(?![a-z])", words)]


def test_the_words_that_were_replaced_do_not_return(texts: dict[str, str]) -> None:
    assert len(texts) > 300, "the listing is incomplete"
    found: Counter[tuple[str, str]] = Counter()
    for pattern in REPLACED:
        for name, text in texts.items():
            found.update((name, word) for word in occurrences(pattern, text))
    unexpected = {
        f"{name}: {word}": count
        for (name, word), count in found.items()
        if not _allowed(name, word)
    }
    assert not unexpected
    assert found.total() <= LIMIT


def _allowed(name: str, word: str) -> bool:
    return any(name == file and word.startswith(stem) for file, stem in ALLOWED)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The picture's TruePath is told", 3),
        ("ground truth, ground-truth depth, ground_truth_path, GroundTruth", 0),
        ("# on the ground\n    # truth of a bag", 0),
        ("truth.tum", 1),
        ("a colour image, rgb8_grey", 2),
        ("overlap, bride, essay, telling_apart, newsletter", 0),
    ],
)
def test_an_old_word_is_found_in_names_and_prose(text: str, count: int) -> None:
    assert sum(len(occurrences(pattern, text)) for pattern in REPLACED) == count
