"""Compiled engines on disk: what is loaded is exactly what was built for this machine."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from writers.trees import small_disk

from sfm_ros.engines.engine_cache import (
    OWN_FOLDER,
    SHARED_FOLDERS,
    EngineCache,
    EngineIdentity,
)
from sfm_ros.errors import EngineNotBuiltError, OutputError

ORIN = EngineIdentity(
    onnx_sha256="5b71", library="TensorRT", library_version="10.3.0", gpu="Orin",
    compute_capability="8.7", driver="12.6 540.4.0", precision="fp16",
    shapes="rgb uint8 1x128x416x3", flags="strongly typed, TF32",
)  # fmt: skip
PLAN = bytes(range(256)) * 40
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "own", [])


def stored(cache: EngineCache, identity: EngineIdentity = ORIN) -> Path:
    return cache.store(identity, PLAN, {"model": "road", "seconds": 12.5})


def test_what_is_stored_is_loaded(cache: EngineCache) -> None:
    assert cache.is_writable()
    path = stored(cache)
    assert cache.load(ORIN) == PLAN and cache.is_writable()
    (entry,) = cache.entries()
    assert (entry.path, entry.identity, entry.fault) == (path, ORIN, "")
    assert entry.facts["seconds"] == 12.5 and entry.size > len(PLAN)


@pytest.mark.parametrize("part", [f.name for f in fields(EngineIdentity)])
def test_a_change_of_any_part_of_the_identity_needs_another_engine(
    cache: EngineCache, part: str
) -> None:
    stored(cache)
    other = dataclasses.replace(ORIN, **{part: getattr(ORIN, part) + "1"})
    with pytest.raises(EngineNotBuiltError, match="none is cached.*sfm_build_engine"):
        cache.load(other)
    cache.store(other, b"other", {})
    assert (cache.load(other), cache.load(ORIN)) == (b"other", PLAN)


def test_parts_do_not_run_into_each_other() -> None:
    shifted = dataclasses.replace(ORIN, gpu="Ori", compute_capability="n8.7")
    assert shifted.key != ORIN.key


# Files that must not reach TensorRT


def truncated(path: Path) -> bytes:
    return path.read_bytes()[:-100]


def cut_in_the_header(path: Path) -> bytes:
    return path.read_bytes()[:40]


def zeroed(path: Path) -> bytes:
    return bytes(path.stat().st_size)


def zeroed_at_the_end(path: Path) -> bytes:
    return path.read_bytes()[:-512] + bytes(512)


def one_bit_flipped(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    return bytes(data)


def a_plan_of_another_program(path: Path) -> bytes:
    return b"ftrt" + PLAN


def longer(path: Path) -> bytes:
    return path.read_bytes() + b"more"


def empty(path: Path) -> bytes:
    return b""


def a_header_that_lies(path: Path) -> bytes:
    return path.read_bytes().replace(b'"Orin"', b'"Xavi"')


def a_header_of_nonsense(path: Path) -> bytes:
    return path.read_bytes().replace(b'{"identity"', b'["identity"')


DAMAGES = (
    truncated, cut_in_the_header, zeroed, zeroed_at_the_end, one_bit_flipped,
    a_plan_of_another_program, longer, empty, a_header_that_lies, a_header_of_nonsense,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_built_again_and_never_loaded(cache: EngineCache, damage) -> None:
    path = stored(cache)
    path.write_bytes(damage(path))
    with pytest.raises(EngineNotBuiltError, match="is damaged: .*build it with sfm_build_engine"):
        cache.load(ORIN)
    stored(cache)
    assert cache.load(ORIN) == PLAN


def test_an_engine_under_the_name_of_another_is_not_loaded(cache: EngineCache) -> None:
    other = dataclasses.replace(ORIN, gpu="Xavier")
    stored(cache).rename(cache.own / f"{other.key}.engine")
    with pytest.raises(EngineNotBuiltError, match="the name of another engine"):
        cache.load(other)
    assert "another engine" in cache.entries()[0].fault


def test_a_folder_in_the_place_of_an_engine_is_no_engine(cache: EngineCache) -> None:
    (cache.own / f"{ORIN.key}.engine").mkdir(parents=True)
    with pytest.raises(EngineNotBuiltError, match="damaged"):
        cache.load(ORIN)


# Folders


def test_a_shared_folder_is_read_and_never_written(cache: EngineCache, tmp_path: Path) -> None:
    path = stored(cache)
    user = EngineCache(tmp_path / "user", [tmp_path / "absent", cache.own])
    assert user.load(ORIN) == PLAN
    (entry,) = user.entries()
    assert not user.remove(entry) and path.exists()
    other = dataclasses.replace(ORIN, gpu="Thor")
    assert stored(user, other).parent == tmp_path / "user"


def test_a_shared_engine_helps_out_for_a_damaged_one(cache: EngineCache, tmp_path: Path) -> None:
    stored(cache)
    user = EngineCache(tmp_path / "user", [cache.own])
    stored(user).write_bytes(b"")
    assert user.load(ORIN) == PLAN


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(OWN_FOLDER, raising=False)
    assert EngineCache().own == tmp_path / "sfm_ros" / "engines"
    monkeypatch.setenv(OWN_FOLDER, str(tmp_path / "mine"))
    monkeypatch.setenv(SHARED_FOLDERS, f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    stored(EngineCache(tmp_path / "b", []))
    assert EngineCache().own == tmp_path / "mine" and EngineCache().load(ORIN) == PLAN


def test_a_folder_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    cache = EngineCache(Path("/proc/sfm_engines"), [])
    message = f"cannot write the engine cache /proc/sfm_engines: .*{OWN_FOLDER}"
    with pytest.raises(OutputError, match=message):
        stored(cache)
    with pytest.raises(OutputError, match=message), cache.locked():
        pytest.fail("locked")
    with pytest.raises(EngineNotBuiltError):
        cache.load(ORIN)


def test_a_full_disk_is_a_reason_and_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        cache = EngineCache(disk, [])
        stored(cache)
        other = dataclasses.replace(ORIN, gpu="Thor")
        with pytest.raises(OutputError, match="No space left on device.*make room"):
            cache.store(other, bytes(2**21), {})
        assert [entry.identity for entry in cache.entries()] == [ORIN]
        assert len(list(disk.iterdir())) == 1 and cache.load(ORIN) == PLAN


def test_a_read_only_folder_still_loads(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        cache = EngineCache(disk, [])
        stored(cache)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert cache.load(ORIN) == PLAN and not cache.is_writable()
        with pytest.raises(OutputError, match="Read-only file system"), cache.locked():
            pytest.fail("locked")


def test_leftovers_of_killed_builders_are_removed(cache: EngineCache) -> None:
    path = stored(cache)
    (cache.own / f".{path.name}.17.abcd.new").write_bytes(b"half")
    with cache.locked():
        cache.remove_leftovers()
    assert cache.load(ORIN) == PLAN and [p.name for p in cache.own.iterdir()] == [path.name]


def test_files_of_others_are_kept(cache: EngineCache) -> None:
    stored(cache)
    under_our_name = cache.own / f"{'0' * 24}.engine"
    others = [
        cache.own / name for name in ("x.engine", ".y.new", ".x.engine.1.ab.new", "A.engine")
    ]
    for path in (*others, under_our_name):
        path.write_bytes(b"of another program")
    with cache.locked():
        cache.remove_leftovers()
    foreign, own = cache.entries()
    assert (foreign.path, foreign.is_foreign, own.is_foreign) == (under_our_name, True, False)
    assert not cache.remove(foreign) and cache.remove(own)
    assert set(cache.own.iterdir()) == {*others, under_our_name}


def test_listing_reads_no_plan(cache: EngineCache) -> None:
    large = b"\0" * 2**24
    path = cache.store(ORIN, large, {})
    size = path.stat().st_size
    tracemalloc.start()
    try:
        (entry,) = cache.entries()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (entry.identity, entry.size, entry.fault) == (ORIN, size, "") and peak < 2**20
    path.write_bytes(path.read_bytes()[:-1])
    assert "holds 16777215 bytes, expected 16777216" in cache.entries()[0].fault


# Two processes

BUILD = """
import sys
from pathlib import Path
from sfm_ros.engines.engine_cache import EngineCache, EngineIdentity
from sfm_ros.errors import EngineNotBuiltError
import json
identity = EngineIdentity(**json.loads(sys.argv[2]))
cache = EngineCache(Path(sys.argv[1]), [])
with cache.locked(on_wait=lambda reason: print("waits", reason, flush=True)):
    print("holds", flush=True)
    sys.stdin.readline()
    try:
        cache.load(identity)
        print("found", flush=True)
    except EngineNotBuiltError:
        cache.store(identity, sys.argv[3].encode() * 100000, {})
        print("built", flush=True)
"""


WRITE = """
import json, sys
from pathlib import Path
from sfm_ros.engines.engine_cache import EngineCache, EngineIdentity
cache = EngineCache(Path(sys.argv[1]), [])
for _ in range(5):
    cache.store(EngineIdentity(**json.loads(sys.argv[2])), sys.argv[3].encode() * 100000, {})
"""


def start(code: str, cache: EngineCache, mark: str) -> subprocess.Popen:
    command = [sys.executable, "-c", code, str(cache.own), json.dumps(asdict(ORIN)), mark]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)


def test_two_builders_at_once_end_with_one_good_file(cache: EngineCache) -> None:
    with start(BUILD, cache, "a") as first:
        assert first.stdout and first.stdout.readline() == "holds\n"
        with start(BUILD, cache, "b") as second:
            waits = second.stdout.readline() if second.stdout else ""
            assert f"written by another program (process {first.pid})" in waits
            assert first.communicate("go\n", timeout=60)[0] == "built\n"
            assert second.communicate("go\n", timeout=60)[0] == "holds\nfound\n"
    assert cache.load(ORIN) == b"a" * 100000
    assert [entry.fault for entry in cache.entries()] == [""]


def test_two_writers_without_locks_leave_one_complete_file(cache: EngineCache) -> None:
    writers = [start(WRITE, cache, mark) for mark in "ab"]
    assert [writer.communicate(timeout=60) for writer in writers] == [("", None)] * 2
    assert cache.load(ORIN) in (b"a" * 100000, b"b" * 100000)
    assert len(list(cache.own.iterdir())) == 1
