"""Whatever lies in and around an output folder: no program changes a file of others."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from writers.programs import Program, make_inputs, programs
from writers.trees import fill, snapshot

from sfm_ros.outputs.lock import LOCK
from sfm_ros.outputs.marker import MARKER, Marker

TREES = int(os.environ.get("SFM_TREES", "200"))
STATES = ("missing", "empty", "others", "ours", "ours", "ours", "another's", "damaged")
PLACES = ("beside", "beside", "beside", "inside", "is", "above")


class World:
    """A random folder for a program, amid the files of others.

    Attributes:
        out: the folder, as it is named on the command line.
        data: folder of the inputs.
        ours: names in the folder that an earlier run of the program has written.
    """

    def __init__(self, root: Path, program: Program, inputs: Path, rng: random.Random) -> None:
        self._root, self._rng, self._program = root, rng, program
        fill(root / "outside", {"a.txt": "mine", "folder/1.png": "mine", "folder/b": "mine"})
        self.state, self.place = rng.choice(STATES), rng.choice(PLACES)
        self.out, folder = self._placed(inputs)
        self.ours = self._filled(folder) if self.state != "missing" else set()
        if self.place == "beside" and rng.random() < 0.2:
            self.out = root / "link"
            self.out.symlink_to(folder)
        self._folder = folder

    def _placed(self, inputs: Path) -> tuple[Path, Path]:
        out, self.data = self._root / "a" / "out", self._root / "a" / "data"
        if self.place == "inside":
            self.data = out / "data"
        shutil.copytree(inputs, self.data)
        if self.place == "is":
            out = self.data / self._rng.choice(self._program.inputs or ("set",))
        elif self.place == "above":
            out = self._rng.choice([self._root, self._root / "a", self.data])
        return out, out

    def _filled(self, folder: Path) -> set[str]:
        if folder.is_file():
            return set()
        folder.mkdir(parents=True, exist_ok=True)
        ours: set[str] = set()
        if self.state == "empty":
            return ours
        kinds = self._rng.choice(
            [("absent", "ours"), ("absent", "ours", "file", "link", "folder")]
        )
        for name in self._program.names:
            kind = self._rng.choice(kinds)
            if self._put(folder, name, kind) and kind == "ours":
                ours.add(name)
        fill(folder, {"notes.txt": "mine"} if self._rng.random() < 0.5 else {})
        return self._marked(folder, ours)

    def _put(self, folder: Path, name: str, kind: str) -> bool:
        path, rng = folder / name, self._rng
        if kind == "absent" or os.path.lexists(path):
            return False
        parent = path.parent
        if not os.path.lexists(parent.parent):
            parent.parent.mkdir(parents=True)
        if parent != folder and not os.path.lexists(parent) and rng.random() < 0.1:
            parent.symlink_to(self._root / "outside" / "folder")
        if any(p.is_symlink() or p.is_file() for p in (parent, parent.parent)):
            return False
        parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            targets = ("outside/a.txt", "outside/folder", "outside/none", "outside")
            path.symlink_to(self._root / rng.choice(targets))
        elif kind == "folder":
            fill(path, {"mine.txt": "mine"})
        else:
            path.write_text(kind)
        return True

    def _marked(self, folder: Path, ours: set[str]) -> set[str]:
        if self.state == "damaged":
            (folder / MARKER).write_text(self._rng.choice(["", "{", '{"format": 1}']))
        elif self.state in ("ours", "another's") and self._program.marker:
            name = self._program.marker if self.state == "ours" else "another program"
            complete = self._rng.random() < 0.5
            marker = Marker(program=name, files=frozenset(ours), is_complete=complete)
            marker.write(folder)
            return ours if self.state == "ours" else set()
        return set()

    def files_of_others(self) -> dict[str, object]:
        """Every file and link that no program may change."""
        marker = [MARKER] if self.state == "ours" else []
        folder = self._folder.relative_to(self._root)
        free = {(folder / name).as_posix() for name in (*self.ours, *marker, LOCK)}
        found = snapshot(self._root)
        return {k: v for k, v in found.items() if v is not None and k not in free}


def test_no_program_changes_a_file_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, known = make_inputs(tmp_path / "inputs"), programs(monkeypatch)
    ended: Counter[tuple[str, int]] = Counter()
    for index in range(TREES):
        name = list(known)[index % len(known)]
        rng = random.Random(index)
        root = tmp_path / str(index)
        world = World(root, known[name], inputs, rng)
        before = world.files_of_others()
        status = known[name].run(world.out, world.data)
        after = snapshot(root)
        changed = {path for path, value in before.items() if after.get(path) != value}
        assert not changed, (index, name, world.state, world.place, status)
        ended[name, status] += 1
        shutil.rmtree(root)
    assert set(ended) == {(name, status) for name in known for status in (0, 1)}, ended
