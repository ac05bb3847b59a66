"""What a step costs a shared PostgreSQL: steps a second, CPU, commits and WAL, by number of nodes.

    python -m benchmarks.scale [--nodes 1 2 3] [--secs 8] [--delay-ms 0] [--rounds 2]

The load is five apps with as many executions of ten workers as keep every place taken; each answer has 1 KB of state
and an increment of a key of its app. Numbers of nodes take turns. All of it shares this machine, so steps a second say
little; what a step costs in CPU and in WAL says how far one goes (docs/scale.md). With apps that take their time, five
for each node, the cores are not what ends it, and the nodes add up.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.findings import Chart, Findings, Table, median, number
from benchmarks.node import Stage, install, launch, order, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.processes import cpu_secs
from benchmarks.stores import Stores
from benchmarks.workload import APPS, ROWS
from tests.support.server import Server

EXECUTIONS_PER_APP = 4
WARM_UP_CALLS = 500
METHOD = """\
So many node processes on one PostgreSQL, all on this one machine: the steps a second show what its cores leave for
each, and what a step costs in CPU, commits and WAL says [how far one goes](scale.md). {executions} executions of ten
workers for each node, 1 KB of state, and in each answer an increment of a key of its app's state. Counted over {secs}
seconds; medians of {rounds} rounds in turns."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of node processes, and for how long each is measured.

    `delay_ms`: what the apps take for an answer. Then there are five for each node, since what an app may have in
    flight is counted over all of them.
    """

    nodes: tuple[int, ...] = (1, 2, 3)
    secs: float = 8.0
    delay_ms: int = 0


QUICK = Sizes((1, 2), 0.5)


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at an instant."""

    at: float
    steps: int
    commits: int
    wal_bytes: int
    store_secs: float
    node_secs: float


@dataclass(frozen=True, slots=True)
class Shared:
    """What a step costs when so many nodes share the database: microseconds of CPU, bytes of WAL."""

    rate: float
    store_us: float
    node_us: float
    steps_a_commit: float
    wal_bytes: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every number of nodes, in turns."""
    found: dict[int, list[Shared]] = {count: [] for count in sizes.nodes}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for count, runs in found.items():
                with staged(stores, "postgresql") as stage:
                    runs.append(_shared(stage, count, sizes))
                tell(f"{count} nodes: {runs[-1]}")
    return _findings(found, sizes, rounds)


def _shared(stage: Stage, count: int, sizes: Sizes) -> Shared:
    state = {"step": 0, "steps": 10**9, "rows": ROWS, "counts": True}
    with ExitStack() as stack:
        servers = [stack.enter_context(stage.node(f"node{number_}")) for number_ in range(count)]
        apps = APPS * count if sizes.delay_ms else APPS
        install(servers[0], stage.sink, sizes.delay_ms, apps)
        executions = range(APPS * EXECUTIONS_PER_APP * count)
        launch(servers[0], (order(number_, state, apps=apps) for number_ in executions))
        stage.sink.wait_for_calls(WARM_UP_CALLS * count)
        before = _read(stage, servers)
        time.sleep(sizes.secs)
        after = _read(stage, servers)
    steps = after.steps - before.steps
    return Shared(
        steps / (after.at - before.at),
        (after.store_secs - before.store_secs) / steps * 1e6,
        (after.node_secs - before.node_secs) / steps * 1e6,
        steps / (after.commits - before.commits),
        (after.wal_bytes - before.wal_bytes) / steps,
    )


def _read(stage: Stage, servers: Sequence[Server]) -> Reading:
    return Reading(
        at=time.monotonic(),
        steps=stage.store.value("SELECT count(*) FROM calls"),
        commits=stage.store.value("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"),
        wal_bytes=stage.store.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"),
        store_secs=stage.store.cpu_secs() or 0.0,
        node_secs=sum(cpu_secs(pid_of(server)) for server in servers),
    )


def _findings(found: dict[int, list[Shared]], sizes: Sizes, rounds: int) -> Findings:
    rows = []
    costs: dict[str, list[tuple[float, float]]] = {"the nodes": [], "PostgreSQL": []}
    for count, runs in found.items():
        values = [median(getattr(run, name) for run in runs) for name in Shared.__slots__]
        rows.append((str(count), *map(number, values)))
        costs["the nodes"].append((count, values[2] or 0.0))
        costs["PostgreSQL"].append((count, values[1] or 0.0))
    head = ("nodes", "steps/s here", "PostgreSQL us/step", "nodes us/step", "steps/commit", "WAL bytes/step")
    chart = Chart("nodes", "CPU of a step, by number of nodes", "node processes", "us of CPU a step", costs)
    method = METHOD.format(executions=APPS * EXECUTIONS_PER_APP, secs=number(sizes.secs), rounds=rounds)
    if sizes.delay_ms:
        method += f" Five apps for each node, which take {sizes.delay_ms} ms for an answer."
    charts = (chart,) if len(sizes.nodes) > 1 else ()
    return Findings("Several nodes", method, (Table(head, tuple(rows)),), charts)


PART = Part("scale", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
