"""An app that takes its time for each step: steps a second beside what 100 calls in flight can make of it.

    python -m benchmarks.slow_app [--executions 10 15] [--delay-ms 100] [--secs 10] [--rounds 3]

The workers have more steps than they will come to; what is counted is the calls of so many seconds in the middle.
"""

from contextlib import ExitStack
from dataclasses import dataclass

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
place meanwhile. Calls that came in {secs} seconds in the middle of the run; medians of {rounds} rounds."""


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
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for executions in sizes.executions:
                for kind in KINDS:
                    found.setdefault((kind, executions), []).append(_rate(stores, kind, executions, sizes))
                    tell(f"slow app, {NAMES[kind]}, {executions} executions: {found[kind, executions][-1]:.0f}/s")
    return _findings(found, sizes, rounds)


def _rate(stores: Stores, kind: Kind, executions: int, sizes: Sizes) -> float:
    state = state_of(Load(executions, ENDLESS))
    with staged(stores, kind) as stage, stage.node() as server:
        install(server, stage.sink, sizes.delay_ms)
        launch(server, (order(number_, state) for number_ in range(executions)))
        stage.sink.wait_for_calls(5 * WORKERS * executions)
        return stage.sink.rate(sizes.secs)


def _findings(found: dict[tuple[Kind, int], list[float]], sizes: Sizes, rounds: int) -> Findings:
    rows: list[tuple[str, ...]] = []
    targets: list[Target] = []
    for (kind, executions), runs in found.items():
        rate = median(runs) or 0.0
        workers = executions * WORKERS
        possible = min(PLACES, workers) / sizes.delay_ms * 1000
        rows.append((f"{NAMES[kind]}, {workers} workers", number(rate), number(possible), f"{rate / possible:.1%}"))
        what = f"{sizes.delay_ms} ms app, {workers} workers, {NAMES[kind]}"
        targets.append(at_least(what, rate, 0.95 * possible, " steps/s"))
    possible = PLACES / sizes.delay_ms * 1000
    method = METHOD.format(
        delay_ms=sizes.delay_ms, places=PLACES, possible=number(possible), secs=sizes.secs, rounds=rounds
    )
    table = Table(("", "steps/s", "possible", "share"), tuple(rows))
    return Findings("An app that takes its time", method, (table,), (), tuple(targets))


PART = Part("slow_app", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
