"""What cannot be read of a storage file is noted with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfm_ros.bags.damage import Damage
from sfm_ros.errors import UnsafeFileError


def test_an_error_without_a_text_is_named_by_its_type() -> None:
    notes: list[str] = []
    Damage(Path("drive.mcap"), notes.append).add("the rest", EOFError())
    assert notes == ["drive.mcap: the rest cannot be read: EOFError"]


@pytest.mark.parametrize("kind", [MemoryError, OSError, UnsafeFileError])
def test_an_error_that_is_not_of_the_content_is_raised(kind: type[Exception]) -> None:
    notes: list[str] = []
    error = kind("beyond a limit")
    with pytest.raises(kind) as raised:
        Damage(Path("drive.mcap"), notes.append).add("the rest", error)
    assert raised.value is error and notes == []
