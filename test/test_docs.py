"""The documentation of the node agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from documentation.scripts import load_script

from sfm_ros.config import iter_fields
from sfm_ros.datatypes import Reason, TrackingStatus
from sfm_ros.doctor.frames import check_tree
from sfm_ros.doctor.observed import Edge
from sfm_ros.ros.node.interface import PROGRAMS, PUBLICATIONS, SERVICES


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("write_docs")


@pytest.fixture(scope="module")
def troubleshooting(repository: Path) -> str:
    return (repository / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_the_files_are_what_the_code_makes(generator: ModuleType) -> None:
    for path, content in generator.files().items():
        assert path.read_text(encoding="utf-8") == content, "python scripts/write_docs.py"


def test_the_page_holds_every_parameter_reason_topic_and_program(generator: ModuleType) -> None:
    page = generator.node_md()
    expected = {name for name, _, _ in iter_fields()}
    expected |= {reason.value for reason in Reason} | {status.value for status in TrackingStatus}
    expected |= {topic.name for topic in PUBLICATIONS} | {service.name for service in SERVICES}
    assert [name for name in sorted(expected | set(PROGRAMS)) if f"`{name}`" not in page] == []


def test_every_row_of_a_table_has_as_many_cells_as_its_head(generator: ModuleType) -> None:
    width = None
    for line in generator.node_md().splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = line.count("|")
        assert width in (None, cells), line
        width = cells


def test_the_figure_is_an_image_with_every_frame(generator: ModuleType) -> None:
    root = ElementTree.fromstring(generator.frames_svg())
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"odom", "base_link", "camera_body", "camera_optical"} <= texts


def test_the_programs_are_those_that_are_installed(repository: Path) -> None:
    installed = set(re.findall(r'"(\w+) = sfm_ros', (repository / "setup.py").read_text()))
    assert set(PROGRAMS) == installed


def test_troubleshooting_names_what_exists(troubleshooting: str, repository: Path) -> None:
    parameters = {name for name, _, _ in iter_fields()}
    blocks = {name.split(".")[0] for name in parameters}
    named = set(re.findall(r"`(\w+\.\w+)`", troubleshooting))
    assert {name for name in named if name.split(".")[0] in blocks} <= parameters
    assert set(re.findall(r"\bsfm_[a-z_]+\b", troubleshooting)) - {"sfm_ros"} <= set(PROGRAMS)
    for file in re.findall(r"\b(?:benchmarks|scripts|third_party)/\w+(?:\.py)?", troubleshooting):
        assert (repository / file).exists()


def test_a_frame_with_two_parents_is_found_by_the_words_of_the_doctor(
    troubleshooting: str,
) -> None:
    edges = [
        Edge(parent=parent, child="base_link", is_static=True, T_parent_child=np.eye(4))
        for parent in ("odom", "map")
    ]
    finding, *_ = check_tree(edges)
    assert f"| `{finding.found}`" in troubleshooting


def test_what_the_code_refers_to_is_a_heading(troubleshooting: str, repository: Path) -> None:
    headings = {line[3:].lower() for line in troubleshooting.splitlines() if line[:3] == "## "}
    referred = set()
    for path in (repository / "sfm_ros").rglob("*.py"):
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        referred |= set(re.findall(r"'([a-z ]+)' in docs/troubleshooting\.md", text, re.I))
    assert referred and referred <= headings
