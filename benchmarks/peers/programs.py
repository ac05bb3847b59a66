"""The programs of one peer, on one store: the preparation, the workers, the submission."""

import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ENVIRONMENT
from benchmarks.stores import Kind
from benchmarks.workload import Load
from tests.support.server import ROOT

PYTHON = ENVIRONMENT / "bin" / "python"
START_SECS = 90.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A library in one of its forms: `copies` processes that the benchmark starts, each with `options`."""

    name: str
    module: str
    store: Kind
    durability: str
    copies: int = 1
    options: tuple[str, ...] = ()


class NotRun(Exception):
    """The peer could not be measured; says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The peer's programs, with the URLs of its store and of the app; what they print goes to `log`."""

    peer: Peer
    database: str
    sink: str
    log: Path

    @property
    def worker(self) -> list[str | Path]:
        """The command of one worker."""
        return self._command("work")

    def prepare(self) -> None:
        """Make the tables. Raises NotRun."""
        self._run(self._command("prepare"), "preparation", lambda: None)

    def submit(self, load: Load, when_ready: Callable[[], object] = lambda: None) -> None:
        """Hand in the load; `when_ready` is called when the program has started. Raises NotRun."""
        command = [*self._command("submit"), "--executions", str(load.executions), "--steps", str(load.steps)]
        self._run(command, "submission", when_ready)

    def last_words(self) -> str:
        """The end of what the peer has printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it printed nothing"

    def _command(self, part: str) -> list[str | Path]:
        where = ["--database", self.database, "--sink", self.sink]
        return [PYTHON, "-m", f"benchmarks.peers.{self.peer.module}", "--part", part, *where, *self.peer.options]

    def _run(self, command: list[str | Path], what: str, when_ready: Callable[[], object]) -> None:
        pipe = subprocess.PIPE
        with (
            self.log.open("ab") as output,
            subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=output, text=True) as process,
        ):
            assert process.stdout is not None
            limit = threading.Timer(START_SECS, process.kill)
            limit.start()
            try:
                process.stdout.readline()
                when_ready()
                process.communicate("go\n")
            finally:
                limit.cancel()
        if process.returncode != 0:
            raise NotRun(f"its {what} failed: {self.last_words()}")
