"""What cannot be read of a storage file is noted with its reason."""

from __future__ import annotations

from pathlib import Path

from sfm_ros.bags.damage import Damage


def test_an_error_without_a_text_is_named_by_its_type() -> None:
    damage = Damage(Path("drive.mcap"))
    damage.add("the rest", EOFError())
    assert damage.lines == ["drive.mcap: the rest cannot be read: EOFError"]
