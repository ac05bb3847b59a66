"""The processes of a benchmark: started here, ended here by their pid, and what they took of the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.server import ROOT

ENVIRONMENT = ROOT / ".venv-peers"
TICK_SECS = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_SECS = 15.0
QUIET_SECS = 0.5


def cpu_secs(pid: int) -> float:
    """User and system time that a process has taken, with those of its children that have ended; 0 once it is gone."""
    with suppress(OSError):
        return sum(map(int, _stat(pid)[11:15])) * TICK_SECS
    return 0.0


def tree_cpu_secs(root: int) -> float:
    """The same of a process and all that descend from it."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # A process may end while one looks.
            with suppress(OSError):
                stat = _stat(int(entry.name))
                parents[int(entry.name)] = int(stat[1])
                used[int(entry.name)] = sum(map(int, stat[11:15])) * TICK_SECS
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(pid, 0.0) for pid in family)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name: state, parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def memory_mb(pid: int, *, peak: bool = False) -> float:
    """The resident memory of a process in megabytes (10^6 bytes), now or the most that it ever was."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


class Group:
    """One started process and what it starts, in a process group of their own."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> str | None:
        """How the first process ended; None while it runs."""
        # It is not reaped here, so that its number stays its own until the whole group has been ended.
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return f"ended with {'status' if found.si_code == os.CLD_EXITED else 'signal'} {found.si_status}"

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to all of the group."""
        os.killpg(self.pid, number)

    def end(self) -> None:
        """SIGTERM to the first one, as an operator would; SIGKILL to those that are left after a while."""
        os.kill(self.pid, signal.SIGTERM)
        self.tell(signal.SIGCONT)
        until = time.monotonic() + PATIENCE_SECS
        while self.ended() is None and time.monotonic() < until:
            time.sleep(0.01)
        self.tell(signal.SIGKILL)
        self._process.wait(PATIENCE_SECS)


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator[Group]:
    """A process of this tree for the length of the block, its output in `log`."""
    group = Group(command, log)
    try:
        yield group
    finally:
        group.end()


def settle(pids: Sequence[int], share: float, patience_secs: float = 90.0) -> None:
    """Wait until processes, with what descends from them, use less than `share` of a core; or for so long."""
    until = time.monotonic() + patience_secs
    busy = QUIET_SECS
    while busy > QUIET_SECS * share and time.monotonic() < until:
        before = sum(map(tree_cpu_secs, pids))
        time.sleep(QUIET_SECS)
        busy = sum(map(tree_cpu_secs, pids)) - before


def output_of(module: str, *arguments: str, timeout_secs: float = 600.0) -> str:
    """What a module of this tree prints, run in a process of its own. Raises CalledProcessError, TimeoutExpired."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout_secs)
    return done.stdout
