"""The suite without torch: its tests are not collected, and the others run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_collection_without_torch(repository: Path, tmp_path: Path) -> None:
    # Imported by every interpreter at its start: torch then counts as not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    process = subprocess.run(
        [*command, "test/training", "test/core/test_config.py"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    assert "test/core/test_config.py" in process.stdout
    assert "test/training" not in process.stdout
