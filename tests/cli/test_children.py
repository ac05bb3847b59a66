"""Processes of the demo: started, waited for, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import children
from orchestrator.cli.children import Child, ended_by_signals
from orchestrator.cli.failures import RunFailed
from tests.support.ports import free_port

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
PARENT = """
import os, sys, time
from pathlib import Path
from orchestrator.cli.children import Child
code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
child = Child("sleeper", [sys.executable, "-c", code], os.environ, Path(sys.argv[1]))
child.start()
time.sleep(600)
"""


def child(tmp_path: Path, *arguments: str) -> Child:
    return Child("child", [sys.executable, *arguments], os.environ, tmp_path / "child.log")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process does anything any more; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_waits_until_it_answers(tmp_path: Path) -> None:
    port = free_port()
    server = child(tmp_path, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    server.start()
    try:
        assert server.wait_for(f"http://127.0.0.1:{port}/", 20).status_code == 200
        with pytest.raises(RunFailed, match="does not answer at"):
            server.wait_for(f"http://127.0.0.1:{port}/nothing", 0.2)
    finally:
        server.end()
    assert server.has_ended


def test_says_what_it_said_when_it_ends_too_early(tmp_path: Path) -> None:
    broken = child(tmp_path, "-c", "print('what went wrong'); raise SystemExit(3)")
    broken.start()
    with pytest.raises(RunFailed, match="the child has ended, with code 3") as raised:
        broken.wait_for("http://127.0.0.1:9/", 20)
    assert raised.value.next_steps == ("what went wrong",)


def test_is_killed_if_it_does_not_end_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "END_SECS", 0.1)
    stubborn = child(tmp_path, "-c", STUBBORN)
    stubborn.start()
    wait_until(lambda: "deaf" in stubborn.log.read_text(encoding="utf-8"))
    stubborn.end()
    assert stubborn.has_ended


def test_can_be_started_again(tmp_path: Path) -> None:
    twice = child(tmp_path, "-c", "print('hello', flush=True)")
    for times in (1, 2):
        twice.start()
        wait_until(lambda: twice.has_ended)
        assert twice.log.read_text(encoding="utf-8").count("hello") == times


def test_ending_what_was_never_started_is_nothing(tmp_path: Path) -> None:
    never = child(tmp_path, "-c", "")
    never.end()
    assert never.has_ended


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)])
    try:
        wait_until(lambda: log.exists() and log.read_text(encoding="utf-8").endswith("\n"))
        pid = int(log.read_text(encoding="utf-8"))
        assert is_running(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not is_running(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_us_interrupt_us_first(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), ended_by_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before
