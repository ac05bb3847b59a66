"""`orchestrator demo`, as `make demo` runs it: from nothing to ten workers done, twice in the same directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT

pytestmark = pytest.mark.slow


def test_the_demo_imports_everything_and_cleans_up(tmp_path: Path) -> None:
    for _ in range(2):
        done = _demo(tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "28,298" in done.stdout
        assert "succeeded" in done.stdout
        assert not _children(tmp_path), "the demo left processes behind"


def _demo(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "demo"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def _children(directory: Path) -> list[str]:
    """The command lines of processes that name the demo's directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line and "pytest" not in line:
            found.append(json.dumps(line))
    return found
