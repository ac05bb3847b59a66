"""Processes that the benchmark starts: what they and their children use of the CPU, and how they are ended."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
TICK_SECS = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_SECS = 15.0


def cpu_secs(root: int) -> float:
    """User and system time of a process and its descendants, with that of the children that have ended."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # A process may end while one looks.
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(map(int, fields[11:15])) * TICK_SECS
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(pid, 0.0) for pid in family)


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
