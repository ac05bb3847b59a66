"""An app that takes its time for each step: steps a second beside what 100 calls in flight can make of it.

    python -m benchmarks.slow_app [--executions 10 15] [--delay-ms 100] [--secs 10] [--rounds 3]

The workers have more steps than they will come to; what is counted is the calls of so many seconds in the middle.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import ceiling, floor
from benchmarks.findings import Findings, Table, Target, at_least, median, number
from benchmarks.node import KINDS, NAMES, Kind, install, launch, order, staged
from benchmarks.part import Part, tell
from benchmarks.stores import Stores
from benchmarks.workload import WORKERS, Load, state_of

PLACES = 100
ENDLESS = 10**9
METHOD = """\
Each answer comes {delay_ms} ms after its call, and a node makes {places} calls at a time, so that {possible} steps/s
are possible. With 100 workers, all that a worker waits between two steps is lost; with more of them, others take its
place meanwhile. Calls that came in {secs} seconds in the middle of the run; medians of {rounds} rounds. The ceiling and
the floor are those of the steps above, with {places} calls in flight: what a client makes of it that keeps nothing, and
one that keeps what we keep and decides nothing."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Executions of ten workers; what the app takes for a step; how long is counted."""

    executions: tuple[int, ...] = (10, 15)
    delay_ms: int = 100
    secs: float = 10.0


QUICK = Sizes((2,), 50, 0.5)


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every number of executions on both databases, in turns."""
    found: dict[tuple[Kind, int], list[float]] = {}
    bare: dict[str, list[float]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for name, rate in _bare(stores, sizes):
                bare.setdefault(name, []).append(rate)
                tell(f"slow app, {name}: {rate:.0f}/s")
            for executions in sizes.executions:
                for kind in KINDS:
                    found.setdefault((kind, executions), []).append(_rate(stores, kind, executions, sizes))
                    tell(f"slow app, {NAMES[kind]}, {executions} executions: {found[kind, executions][-1]:.0f}/s")
    return _findings(found, bare, sizes, rounds)


def _bare(stores: Stores, sizes: Sizes) -> Iterator[tuple[str, float]]:
    """The steps a second of the ceiling, and of the floor on each database."""
    load = Load(sizes.executions[0], max(2, round(sizes.secs * 1000 / sizes.delay_ms)), sizes.delay_ms)
    for kind in KINDS:
        with staged(stores, kind) as stage:
            if kind == KINDS[0]:
                yield "**ceiling**", ceiling.run(stage.sink, load).steps_per_sec
            yield f"**floor, {NAMES[kind]}**", floor.run(stage.sink, stage.store, load).steps_per_sec


def _rate(stores: Stores, kind: Kind, executions: int, sizes: Sizes) -> float:
    state = state_of(Load(executions, ENDLESS))
    with staged(stores, kind) as stage, stage.node() as server:
        install(server, stage.sink, sizes.delay_ms)
        launch(server, (order(number_, state) for number_ in range(executions)))
        stage.sink.wait_for_calls(5 * WORKERS * executions)
        return stage.sink.rate(sizes.secs)


def _findings(
    found: dict[tuple[Kind, int], list[float]], bare: dict[str, list[float]], sizes: Sizes, rounds: int
) -> Findings:
    places = min(PLACES, sizes.executions[0] * WORKERS)
    rows = [_row(name, median(rates) or 0.0, places, sizes) for name, rates in bare.items()]
    targets: list[Target] = []
    for (kind, executions), runs in found.items():
        rate = median(runs) or 0.0
        workers = executions * WORKERS
        possible = min(PLACES, workers) / sizes.delay_ms * 1000
        rows.append(_row(f"{NAMES[kind]}, {workers} workers", rate, min(PLACES, workers), sizes))
        what = f"{sizes.delay_ms} ms app, {workers} workers, {NAMES[kind]}"
        targets.append(at_least(what, rate, 0.95 * possible, " steps/s"))
    possible = PLACES / sizes.delay_ms * 1000
    method = METHOD.format(
        delay_ms=sizes.delay_ms, places=PLACES, possible=number(possible), secs=sizes.secs, rounds=rounds
    )
    table = Table(("", "steps/s", "possible", "share"), tuple(rows))
    return Findings("An app that takes its time", method, (table,), (), tuple(targets))


def _row(name: str, rate: float, places: int, sizes: Sizes) -> tuple[str, ...]:
    possible = places / sizes.delay_ms * 1000
    return name, number(rate), number(possible), f"{rate / possible:.1%}"


PART = Part("slow_app", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
