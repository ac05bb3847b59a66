"""From the start of a server's process to its readiness, and to the first call of what is due by then.

python -m benchmarks.cold_start [--starts 3] [--rounds 3]
"""

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException

from benchmarks.findings import Findings, Table, Target, at_most, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, launch, order, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.processes import memory_mb, settle
from benchmarks.stores import Stores
from benchmarks.workload import Load, state_of
from tests.support.server import ROOT, Server, spawn, wait_for

POLL_SECS = 0.005
PATIENCE_SECS = 60.0
DUE_IN_SECS = 2.5
METHOD = """\
Seconds from the start of the process to the first 200 of `GET /readyz`, which is asked every {poll_ms} ms. "First"
makes the tables too; "again" finds them, and an execution that became due while no server ran: to its first call is
the next column. Memory is what is resident once the server has come to rest. All is compiled to bytecode, as
an installation leaves it, and in the system's cache. Medians of {starts} starts."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How often a round starts a server anew on tables that are there."""

    starts: int = 3


QUICK = Sizes(1)


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds to readiness and to the first call, if one was due, and resident megabytes at rest."""

    ready_secs: float
    call_secs: float | None
    memory_mb: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """First and later starts on both databases, in turns."""
    _compile()
    found: dict[tuple[Kind, str], list[Start]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for kind in KINDS:
                with staged(stores, kind, is_new=kind == "sqlite") as stage:
                    if kind == "sqlite":
                        # On PostgreSQL the tables are made by a command of its own, before any server starts.
                        found.setdefault((kind, "first"), []).append(_start(stage, stage.server(), None))
                    server = _prepared(stage)
                    for _ in range(sizes.starts):
                        due = _launch_and_kill(stage, server)
                        found.setdefault((kind, "again"), []).append(_start(stage, server, due))
                        tell(f"cold start, {NAMES[kind]}: {found[kind, 'again'][-1]}")
    return _findings(found, sizes.starts * rounds)


def _compile() -> None:
    """The packages are compiled when they are installed; of ours, some may have changed since."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "app_sdk", "orchestrator"], cwd=ROOT, check=True)


def _prepared(stage: Stage) -> Server:
    with stage.node() as server:
        install(server, stage.sink)
    return server


def _launch_and_kill(stage: Stage, server: Server) -> datetime:
    """Launch an execution for the near future, and kill the server before that has come."""
    server.start()
    due = datetime.now(UTC) + timedelta(seconds=DUE_IN_SECS)
    launch(server, [order(0, state_of(Load(1, 1)), due)])
    server.kill()
    if datetime.now(UTC) > due:
        raise RuntimeError("launching took too long: the execution was due before the server was killed")
    stage.sink.forget()
    return due


def _start(stage: Stage, server: Server, due: datetime | None) -> Start:
    """Start the server after `due`, watch it, and kill it."""
    if due is not None:
        time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    began = time.time()
    command = ["serve", "--port", str(server.port), "--data-dir", str(server.directory)]
    server.process = spawn(server.directory / "server.log", "orchestrator", *command, **server.environment)
    try:
        while not _is_ready(server):
            if server.process.poll() is not None or time.time() > began + PATIENCE_SECS:
                raise RuntimeError(f"the server did not start: {server.log[-2000:]}")
            time.sleep(POLL_SECS)
        ready = time.time()
        called = None if due is None else wait_for(lambda: stage.sink.seen()["first"], "the first call")
        settle([pid_of(server)], 0.05, 5.0)
        memory = memory_mb(pid_of(server))
    finally:
        server.kill()
    return Start(ready - began, None if called is None else called - began, memory)


def _is_ready(server: Server) -> bool:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _findings(found: dict[tuple[Kind, str], list[Start]], starts: int) -> Findings:
    rows = []
    targets: list[Target] = []
    for (kind, which), runs in found.items():
        ready, call, memory = (median(getattr(run, name) for run in runs) for name in Start.__slots__)
        rows.append((f"{NAMES[kind]}, {which}", number(ready), number(call), number(memory)))
        targets.append(at_most(f"cold start to readiness, {NAMES[kind]}, {which}", ready, 1.5, " s"))
    table = Table(("", "ready, s", "first call, s", "MB at rest"), tuple(rows))
    method = METHOD.format(poll_ms=number(POLL_SECS * 1000), starts=starts)
    return Findings("A cold start", method, (table,), (), tuple(targets))


PART = Part("cold_start", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
