"""docs/security.md states the limits that the code has."""

from __future__ import annotations

from pathlib import Path

from sfm_ros.config import SfmConfig
from sfm_ros.safety import limits


def test_every_limit_is_in_the_table(repository: Path) -> None:
    page = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    mib = {"BINARY_FILE", "TEXT_FILE", "YAML_FILE", "JSON_FILE", "BAG_CHUNK", "BAG_OPEN_CHUNKS"}
    expected = {name: f"{getattr(limits, name) // limits.MIB} MiB" for name in mib}
    for name in ("BAG_UNPACKED", "BAG_DISK_RESERVE"):
        expected[name] = f"{getattr(limits, name) // limits.MIB // 1024} GiB"
    expected |= {
        "IMAGE_MEGAPIXELS": f"{limits.IMAGE_MEGAPIXELS} million pixels",
        "YAML_NODES": f"{limits.YAML_NODES} values",
        "JSON_CONTAINERS": f"{limits.JSON_CONTAINERS} lists",
        "DOCUMENT_DEPTH": f"{limits.DOCUMENT_DEPTH} levels",
        "NUMBER_DIGITS": f"numbers of {limits.NUMBER_DIGITS} digits",
    }
    assert expected.keys() == {name for name in vars(limits) if name.isupper()} - {"MIB"}
    assert [text for text in expected.values() if f" {text}" not in page] == []
    assert SfmConfig().preprocess.max_megapixels == limits.IMAGE_MEGAPIXELS
