"""Items that answers import into the built-in collector: how many a second, by how many an answer has.

python -m benchmarks.imports [--items-an-answer 250 1000 2500 10000] [--items 200000] [--executions 2] [--rounds 3]
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.findings import Chart, Findings, Table, Target, at_least, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, launch_for_one_instant, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.processes import cpu_secs
from benchmarks.stores import Stores
from benchmarks.workload import WORKERS
from tests.support.server import Server, wait_for

METHOD = """\
{executions} executions of ten workers, whose every answer has so many items of 200 bytes, some {items} in all. The time
begins with the first call and ends when the last execution has ended, which it does when every batch has been taken
in by the collector; afterwards the items in the collector's table are counted. The collector is the built-in one, in
the same process, so its CPU is in that of the node. Medians of {rounds} rounds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Items in each answer, items in all (about), and executions of ten workers that bring them."""

    items_an_answer: tuple[int, ...] = (250, 1000, 2500, 10_000)
    items: int = 200_000
    executions: int = 2


QUICK = Sizes((10, 20), 200, 1)


@dataclass(frozen=True, slots=True)
class Imported:
    """Items a second, and microseconds of CPU an item, of the node and of the database's server."""

    rate: float
    own_us: float
    store_us: float | None


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every length of answers on both databases, in turns."""
    found: dict[tuple[Kind, int], list[Imported]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for kind in KINDS:
                with staged(stores, kind) as stage, stage.node() as server:
                    install(server, stage.sink)
                    for items in sizes.items_an_answer:
                        one = _import(stage, server, items, sizes)
                        found.setdefault((kind, items), []).append(one)
                        tell(f"imports, {NAMES[kind]}, {items} an answer: {one}")
    return _findings(found, sizes, rounds)


def _import(stage: Stage, server: Server, items: int, sizes: Sizes) -> Imported:
    steps = max(sizes.items // (sizes.executions * WORKERS * items), 1)
    expected = sizes.executions * WORKERS * steps * items
    before = stage.store.value("SELECT count(*) FROM collected_items")
    stage.sink.forget()
    state = {"step": 0, "steps": steps, "items": items}
    own, store = cpu_secs(pid_of(server)), stage.store.cpu_secs()
    launch_for_one_instant(server, sizes.executions, state)
    stage.sink.wait_for_the_last(sizes.executions * WORKERS)
    last_end = wait_for(lambda: _last_end(server, sizes.executions), "the last execution", 300)
    own = cpu_secs(pid_of(server)) - own
    after = stage.store.cpu_secs()
    taken_in = stage.store.value("SELECT count(*) FROM collected_items") - before
    if taken_in != expected:
        raise RuntimeError(f"{taken_in} items were taken in instead of {expected}")
    store_us = None if store is None or after is None else (after - store) / expected * 1e6
    secs = last_end.timestamp() - stage.sink.seen()["first"]
    return Imported(expected / secs, own / expected * 1e6, store_us)


def _last_end(server: Server, executions: int) -> datetime | None:
    """When the last of the newest executions has ended; None while one of them has not."""
    ends = [one["ended_at"] for one in server.get("/v1/executions", limit=executions)["items"]]
    return None if None in ends else max(datetime.fromisoformat(end).astimezone(UTC) for end in ends)


def _findings(found: dict[tuple[Kind, int], list[Imported]], sizes: Sizes, rounds: int) -> Findings:
    rows = []
    targets: list[Target] = []
    lines: dict[str, list[tuple[float, float]]] = {NAMES[kind]: [] for kind in KINDS}
    for (kind, items), runs in found.items():
        rate, own, store = (median(getattr(run, name) for run in runs) for name in Imported.__slots__)
        name = f"{NAMES[kind]}, {number(items)} an answer"
        rows.append((name, number(rate), number(own), number(store)))
        targets.append(at_least(f"imports, {name}", rate, 50_000, " items/s"))
        lines[NAMES[kind]].append((items, rate or 0.0))
    head = ("", "items/s", "node us/item", "PostgreSQL us/item")
    chart = Chart("imports", "Imports into the built-in collector", "items an answer", "items/s", lines)
    method = METHOD.format(executions=sizes.executions, items=number(sizes.items), rounds=rounds)
    charts = (chart,) if len(sizes.items_an_answer) > 1 else ()
    return Findings("Imports", method, (Table(head, tuple(rows)),), charts, tuple(targets))


PART = Part("imports", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
