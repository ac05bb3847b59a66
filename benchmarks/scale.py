"""What a step costs a shared PostgreSQL, for docs/scale.md: steps a second, CPU, commits and WAL, by number of nodes.

    python benchmarks/scale.py [--nodes 1 2 3] [--secs 8] [--rounds 2]

Loopback only. A PostgreSQL of its own (without fsync: what its disk costs is not measured here), node processes, and a
fast app in a process of its own, which answers with 1 KB of state and an increment of a key of its app.
The load is five apps with as many executions of ten workers as keep every place taken. Numbers of nodes take turns.
All of it shares this machine, so steps a second say little; what a step costs in CPU and in WAL says how far one goes.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.support.postgres import running_postgres
from tests.support.server import Server, free_port, wait_for

TOKEN = "orch_of_the_benchmark"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
APPS = 5
EXECUTIONS_PER_APP = 4
TICK_SECS = 1 / os.sysconf("SC_CLK_TCK")


class FastApp(asyncio.Protocol):
    """Answers each request with the next step of its worker; spawns nine helpers at the first one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._data = b""
        worker = json.loads(body)["task_exec_worker"]
        answer = {
            "updated_worker_state": {"step": worker["step"] + 1, "rows": ["x" * 10] * 65},
            "app_state_mutations": [{"operation": "increment", "key": "steps", "value": 1}],
        }
        if worker["worker_id"] == 0 and worker["step"] == 0:
            answer["new_workers"] = [{"worker_id": id_} for id_ in range(1, 10)]
        text = json.dumps(answer).encode()
        self._transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
        )


async def serve_app(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(FastApp, "127.0.0.1", port)
    await server.serve_forever()


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at an instant."""

    at: float
    steps: int
    commits: int
    wal_bytes: int
    database_secs: float
    node_secs: float


def cpu_secs(pid: int) -> float:
    """User and system time of a process, and of those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * TICK_SECS


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


def read(connection: psycopg.Connection[Any], nodes: list[Server]) -> Reading:
    [(steps, commits, wal, backend)] = connection.execute(
        """SELECT (SELECT count(*) FROM calls),
                  (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
                  pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_backend_pid()"""
    ).fetchall()
    postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
    return Reading(
        at=time.monotonic(),
        steps=int(steps),
        commits=int(commits),
        wal_bytes=int(wal),
        database_secs=sum(map(cpu_secs, family(postmaster))),
        node_secs=sum(cpu_secs(node.process.pid) for node in nodes if node.process is not None),
    )


@contextmanager
def running_app(stack: ExitStack) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, "--serve-app", str(port)])
    stack.callback(process.wait)
    stack.callback(process.kill)
    yield port


def started(directory: Path, url: str) -> Server:
    environment = {
        "ORCHESTRATOR_DATABASE__URL": url,
        "ORCHESTRATOR_SECURITY__MASTER_KEY": "of the benchmark",
        "ORCHESTRATOR_ADMIN_TOKEN": TOKEN,
    }
    server = Server(directory, environment=environment)
    directory.mkdir()
    (directory / "admin-token").write_text(TOKEN)
    server.start()
    return server


def answers(port: int) -> bool:
    try:
        httpx.post(f"http://127.0.0.1:{port}/", json={"task_exec_worker": {"worker_id": 1, "step": 1}})
    except httpx.TransportError:
        return False
    return True


def measure(url: str, nodes: int, secs: float) -> tuple[float, float, float, float, float]:
    """(steps a second, database's CPU, nodes' CPU in microseconds a step, steps a commit, WAL bytes a step)."""
    schema.upgrade(DatabaseOptions(url))
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory, running_app(stack) as port:
        wait_for(lambda: answers(port), "the app")
        servers = []
        for number in range(nodes):
            servers.append(started(Path(directory) / str(number), url))
            stack.callback(servers[-1].kill)
        for app in range(APPS):
            task = {"id": f"app_bench{app}_run", "name": "Run", "on_multiple_exec": "allow"}
            endpoint = f"http://127.0.0.1:{port}/"
            manifest = {"id": f"app_bench{app}", "name": "Bench", "webhook_endpoint": endpoint, "tasks": [task]}
            servers[0].install(manifest, SECRET)
            for _ in range(EXECUTIONS_PER_APP * nodes):
                servers[0].launch(f"app_bench{app}_run")
        with psycopg.connect(url, autocommit=True) as connection:
            wait_for(lambda: connection.execute("SELECT count(*) > 500 FROM calls").fetchall()[0][0], "the load")
            began = read(connection, servers)
            time.sleep(secs)
            ended = read(connection, servers)
    steps = ended.steps - began.steps
    return (
        steps / (ended.at - began.at),
        (ended.database_secs - began.database_secs) / steps * 1e6,
        (ended.node_secs - began.node_secs) / steps * 1e6,
        steps / (ended.commits - began.commits),
        (ended.wal_bytes - began.wal_bytes) / steps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--secs", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve-app", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve_app:
        uvloop.run(serve_app(asked.serve_app))
        return
    found: dict[int, list[tuple[float, ...]]] = {count: [] for count in asked.nodes}
    with running_postgres() as server:
        for _ in range(asked.rounds):
            for count in asked.nodes:
                with server.database() as url:
                    found[count].append(measure(url, count, asked.secs))
    print("nodes   steps/s   PostgreSQL us/step   nodes us/step   steps/commit   WAL bytes/step")
    for count, rounds in found.items():
        rate, database, node, per_commit, wal = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{count:5} {rate:9,.0f} {database:20,.0f} {node:15,.0f} {per_commit:14.1f} {wal:16,.0f}")


if __name__ == "__main__":
    main()
