"""The user's cache folder, and files that are complete or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sfm_ros.errors import OutputError
from sfm_ros.outputs.cache import cache_folder, write_atomically


def test_the_cache_is_where_the_user_puts_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder("engines") == tmp_path / "own" / "sfm_ros" / "engines"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / ".cache" / "sfm_ros"


def test_a_user_without_a_home_is_named(monkeypatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(OutputError, match="no home; set XDG_CACHE_HOME"):
        cache_folder()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"one", b"two")
    write_atomically(path, b"three")
    assert path.read_bytes() == b"three" and [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"earlier")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"later")
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1
