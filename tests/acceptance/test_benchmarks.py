"""Every part of the benchmark works, in sizes that say nothing: no figure is looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT

# The others need another library's environment, or are longer.
PARTS = ("sleepers", "small", "imports")

pytestmark = pytest.mark.slow


def test_the_parts_measure_and_write_their_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", ",".join(PARTS), "--report", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    told = page.read_text()
    assert told.count("\n## ") == len(PARTS) + len(("machine", "targets", "reproduce"))
    assert "Not measured" not in told
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"performance-{name}.svg" for name in ("sleepers", "imports")
    }
