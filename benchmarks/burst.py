"""Very many workers that are due at once, until each has been called.

    python -m benchmarks.burst [--due 1000 10000 100000] [--rounds 3]

They are written into the tables, due a few seconds after the server's start, and are done after one step.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.findings import Chart, Findings, Table, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.processes import memory_mb
from benchmarks.stores import Stores
from orchestrator.store.clock import to_micros

UPDATED_A_SEC = 50_000
METHOD = """\
Workers of running executions (ten each, no state to speak of), all due at the same instant, each done after its first
step, so that every execution ends too. Steps a second from the first call to the last answer; the most memory that the
node's process ever had, and how much of that came with the burst. Medians of {rounds} rounds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many are due at once."""

    due: tuple[int, ...] = (1000, 10_000, 100_000)


QUICK = Sizes((100,))


@dataclass(frozen=True, slots=True)
class Burst:
    """Steps a second, the most megabytes ever resident, and those that were not there before the burst."""

    rate: float
    peak_mb: float
    added_mb: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every number on both databases, in turns."""
    found: dict[tuple[Kind, int], list[Burst]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for due in sizes.due:
                for kind in KINDS:
                    with staged(stores, kind) as stage:
                        found.setdefault((kind, due), []).append(_burst(stage, due))
                    tell(f"burst, {NAMES[kind]}, {due} due: {found[kind, due][-1]}")
    return _findings(found, sizes, rounds)


def _burst(stage: Stage, due: int) -> Burst:
    began = time.monotonic()
    with stage.node() as server:
        install(server, stage.sink)
    start_secs = time.monotonic() - began
    stage.crowd(due, to_micros(datetime.now(UTC) + timedelta(days=1)))
    # Only now, since nobody knows how long it takes to write them all.
    begins = datetime.now(UTC) + timedelta(seconds=1 + 2 * start_secs + due / UPDATED_A_SEC)
    stage.write(lambda tx: tx.run("UPDATE workers SET due_at = :due_at", due_at=to_micros(begins)))
    with stage.node() as server:
        before = memory_mb(pid_of(server))
        if datetime.now(UTC) > begins or stage.sink.count()["calls"]:
            raise RuntimeError("the server took too long to start: the burst has begun")
        stage.sink.wait_for_the_last(due)
        seen = stage.sink.seen()
        peak = memory_mb(pid_of(server), peak=True)
    return Burst(seen["calls"] / (seen["last"] - seen["first"]), peak, peak - before)


def _findings(found: dict[tuple[Kind, int], list[Burst]], sizes: Sizes, rounds: int) -> Findings:
    rows = []
    lines: dict[str, list[tuple[float, float]]] = {NAMES[kind]: [] for kind in KINDS}
    for (kind, due), runs in found.items():
        rate, peak, added = (median(getattr(run, name) for run in runs) for name in Burst.__slots__)
        rows.append((f"{NAMES[kind]}, {number(due)} due", number(rate), number(peak), number(added)))
        lines[NAMES[kind]].append((due, rate or 0.0))
    table = Table(("", "steps/s", "most MB", "MB added"), tuple(rows))
    chart = Chart("burst", "A burst: steps a second by how many are due at once", "workers due", "steps/s", lines)
    return Findings("A burst", METHOD.format(rounds=rounds), (table,), (chart,) if len(sizes.due) > 1 else ())


PART = Part("burst", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
