"""The processes of a benchmark: started here, ended here by their pid, and what they took of the processor."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.support.server import ROOT, Server, free_port, wait_for

TICK_SECS = 1 / os.sysconf("SC_CLK_TCK")
TOKEN = "orch_of_the_benchmark"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def cpu_secs(pid: int) -> float:
    """User and system time that a process has taken, with those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * TICK_SECS


def tree_cpu_secs(pid: int) -> float:
    """The same of a process and all that descend from it."""
    return sum(map(cpu_secs, _tree(pid)))


def memory_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def postmaster(url: str) -> int:
    """The process that all of a PostgreSQL's processes descend from."""
    with psycopg.connect(url) as connection:
        [(backend,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
        return _parent(backend)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _tree(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink."""

    url: str
    pid: int

    def seen(self) -> dict[str, Any]:
        """What has come since the last `forget`."""
        told: dict[str, Any] = httpx.get(f"{self.url}/seen", timeout=30).json()
        return told

    def forget(self) -> None:
        httpx.delete(f"{self.url}/seen", timeout=30)


@contextmanager
def running_sink() -> Iterator[Sink]:
    """A sink in a process of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port)], cwd=ROOT)
    sink = Sink(f"http://127.0.0.1:{port}", process.pid)

    def answers() -> bool:
        try:
            return httpx.get(f"{sink.url}/seen").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, "the sink")
        yield sink
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_node(directory: Path, url: str | None, **environment: str) -> Iterator[Server]:
    """An orchestrator of default settings in a process of its own; `url` None: on SQLite."""
    environment |= {"ORCHESTRATOR_ADMIN_TOKEN": TOKEN, "ORCHESTRATOR_LOG__LEVEL": "warning"}
    if url is not None:
        environment |= {"ORCHESTRATOR_DATABASE__URL": url, "ORCHESTRATOR_SECURITY__MASTER_KEY": "of the benchmark"}
    server = Server(directory, environment=environment)
    directory.mkdir(exist_ok=True)
    (directory / "admin-token").write_text(TOKEN)
    server.start()
    try:
        yield server
    finally:
        server.kill()
