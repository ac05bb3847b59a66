"""The time that a stopping node has, and what happens when it is over."""

import asyncio
import subprocess
import sys

import pytest

from orchestrator.runtime.way_down import Stage, WayDown

# A thread that waits for ever holds up the exit of a process, which this one shows by not ending without its timer.
HELD_UP = """
import threading
from datetime import timedelta
from orchestrator.runtime.way_down import exit_after

threading.Thread(target=threading.Event().wait).start()
exit_after(timedelta(milliseconds=200))
print("at its end")
"""


@pytest.mark.parametrize(
    ("drain_secs", "ends"),
    [
        (25.0, {"CALLS": 20.0, "RECORDS": 21.5, "FAREWELL": 22.0, "WEB": 24.0, "CLOSING": 24.5}),
        (100.0, {"CALLS": 80.0, "RECORDS": 86.0, "FAREWELL": 88.0, "WEB": 96.0, "CLOSING": 98.0}),
        (0.0, {"CALLS": 0.0, "RECORDS": 1.5, "FAREWELL": 2.0, "WEB": 4.0, "CLOSING": 4.5}),
    ],
)
async def test_every_stage_ends_before_the_deadline(
    drain_secs: float, ends: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
    way_down = WayDown.begin(drain_secs)
    left = {stage.name: way_down.left(stage).total_seconds() for stage in Stage}
    assert left == pytest.approx(ends)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 2000.0)
    assert way_down.left(Stage.CLOSING).total_seconds() == 0


def test_a_process_that_is_held_up_ends_all_the_same() -> None:
    ended = subprocess.run([sys.executable, "-c", HELD_UP], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout.strip()[:10]) == (1, "at its end")
