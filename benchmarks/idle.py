"""What a node costs that has nothing to do, with nobody and with very many workers asleep.

python -m benchmarks.idle [--sleepers 0 1000000] [--secs 20] [--rounds 1]
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.findings import Findings, Table, Target, at_most, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.processes import cpu_secs, memory_mb, settle
from benchmarks.stores import Stores
from orchestrator.store.clock import to_micros

METHOD = """\
A node whose workers, if there are any, are all due tomorrow. Once it has come to rest: CPU of its process over {secs}
seconds, as a share of one core, and its resident memory at the end of them. PostgreSQL's CPU is beside it. Medians of
{rounds} such periods."""
SETTLED_SHARE = 0.05
SETTLE_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of sleeping workers, the least first, and for how long each is watched."""

    sleepers: tuple[int, ...] = (0, 1_000_000)
    secs: float = 20.0


QUICK = Sizes((0, 1000), 0.5)


@dataclass(frozen=True, slots=True)
class Rest:
    """Shares of one core in percent, and resident megabytes of the node."""

    own_percent: float
    store_percent: float | None
    memory_mb: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every number of sleepers on both databases."""
    found: dict[tuple[Kind, int], list[Rest]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for sleepers in sizes.sleepers:
            for kind in KINDS:
                with staged(stores, kind) as stage:
                    found[kind, sleepers] = _rests(stage, sleepers, sizes.secs, rounds)
                tell(f"idle, {NAMES[kind]}, {sleepers} sleepers: {found[kind, sleepers]}")
    return _findings(found, sizes, rounds)


def _rests(stage: Stage, sleepers: int, secs: float, rounds: int) -> list[Rest]:
    """So many periods of the same server."""
    if sleepers:
        with stage.node() as server:
            install(server, stage.sink)
        stage.crowd(sleepers, to_micros(datetime.now(UTC) + timedelta(days=1)))
    with stage.node() as server:
        pid = pid_of(server)
        pids = [pid] if stage.store.pid is None else [pid, stage.store.pid]
        settle(pids, SETTLED_SHARE, SETTLE_SECS)
        return [_rest(stage, pid, secs) for _ in range(rounds)]


def _rest(stage: Stage, pid: int, secs: float) -> Rest:
    own, store, began = cpu_secs(pid), stage.store.cpu_secs(), time.monotonic()
    time.sleep(secs)
    elapsed = time.monotonic() - began
    own = cpu_secs(pid) - own
    after = stage.store.cpu_secs()
    used = None if store is None or after is None else (after - store) / elapsed * 100
    return Rest(own / elapsed * 100, used, memory_mb(pid))


def _findings(found: dict[tuple[Kind, int], list[Rest]], sizes: Sizes, rounds: int) -> Findings:
    rows: list[tuple[str, ...]] = []
    targets: list[Target] = []
    base: dict[Kind, float | None] = {}
    for (kind, sleepers), runs in found.items():
        own, store, memory = (median(getattr(run, name) for run in runs) for name in Rest.__slots__)
        name = f"{NAMES[kind]}, {number(sleepers)} asleep"
        rows.append((name, number(own), number(store), number(memory)))
        targets.append(at_most(f"CPU of an idle node, {name}", own, 0.5, " %"))
        least = base.setdefault(kind, memory)
        if sleepers != sizes.sleepers[0] and memory is not None and least is not None:
            targets.append(at_most(f"memory added, {name}", memory - least, 50, " MB"))
    method = METHOD.format(secs=number(sizes.secs), rounds=rounds)
    head = ("", "node, % of a core", "PostgreSQL, % of a core", "node, MB")
    return Findings("An idle node", method, (Table(head, tuple(rows)),), (), tuple(targets))


PART = Part("idle", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
