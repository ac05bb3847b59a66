"""The runner's side of the zygote: order boots, learn of ends, end servers by their pid."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.clock import now
from tests.support.server import ROOT

PATIENCE_SECS = 120.0


@dataclass(frozen=True, slots=True)
class ArmedPoint:
    """A fail-point by its name, to be hit for the `hits`-th time; `mark` is the file that then is not empty."""

    name: str
    hits: int
    mark: str
    seed: str


@dataclass(slots=True)
class Boot:
    """A server process. `status` is its exit code once it has ended; negative: the signal that ended it."""

    pid: int
    log: Path
    began: float
    status: int | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_up(self) -> bool:
        return not self._ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        if self.is_up:
            os.kill(self.pid, number)

    def wait(self, secs: float = PATIENCE_SECS) -> int | None:
        """The exit code; None if it is still up after so long."""
        self._ended.wait(secs)
        return self.status

    def has_ended(self, status: int) -> None:
        self.status = status
        self._ended.set()


class Zygote:
    """Boots servers; used by any thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ordering = threading.Lock()
        self._changed = threading.Condition()
        self._started: list[int] = []
        self._early: dict[int, int] = {}
        self._boots: dict[int, Boot] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def boot(self, environment: Mapping[str, str], log: Path, point: ArmedPoint | None = None) -> Boot:
        """Start a server with this environment on top of the runner's own."""
        armed = None if point is None else asdict(point)
        order = json.dumps({"environment": dict(environment), "log": str(log), "point": armed})
        assert self._process.stdin is not None
        with self._ordering:
            began = now()
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
            with self._changed:
                assert self._changed.wait_for(lambda: bool(self._started), PATIENCE_SECS), "the zygote does not answer"
                boot = Boot(self._started.pop(), log, began)
                if boot.pid in self._early:
                    boot.has_ended(self._early.pop(boot.pid))
                else:
                    self._boots[boot.pid] = boot
        return boot

    def close(self) -> None:
        """After its end: let go of its pipe."""
        self._reader.join(PATIENCE_SECS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                if "started" in told:
                    self._started.append(told["started"])
                elif "ended" in told:
                    self._note_end(told["ended"], told["status"])
                self._changed.notify_all()

    def _note_end(self, pid: int, status: int) -> None:
        boot = self._boots.pop(pid, None)
        if boot is None:
            self._early[pid] = status
        else:
            boot.has_ended(status)


@contextmanager
def running_zygote(directory: Path) -> Iterator[Zygote]:
    """A zygote; it ends its servers when the block ends, and itself."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    with (directory / "zygote.log").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            cwd=directory,
            env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    zygote = Zygote(process)
    try:
        yield zygote
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_SECS)
        zygote.close()
