"""How late a worker is called that is due at a time in the future, at half and at four fifths of the greatest load.

    python -m benchmarks.due [--executions 500] [--secs 15] [--rounds 3]

The app asks each worker to come again after half to one and a half times a pause, at random, and keeps how late it
came. First the pause is so short that all workers are overdue: what comes then is the greatest load. Then the pause is
made as long as brings half of it, and four fifths. Even the shortest is long enough to part the workers of an
execution from each other: those that are due together share their execution's row, and more of them can be called.
"""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.findings import Chart, Findings, Table, at_most, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, launch, order, staged
from benchmarks.part import Part, tell
from benchmarks.stores import Stores
from benchmarks.workload import WORKERS, Load, state_of

SHARES = (0.5, 0.8)
OVERLOAD_PAUSE_SECS = 1.0
CYCLES_TO_SPREAD = 3
METHOD = """\
{workers} workers that answer with `delay_next_request_in_secs`, drawn from half to one and a half times a mean. The
delay is counted in the app, from the end of the wait as the app knows it (its answer, plus what that asked for) to the
arrival of the next call. So the way of the answer back and its commit are in it, which the orchestrator's own due time
does not include. "Greatest" is the rate at which they come when all of them are always overdue, and the rate in the
slowest second of it beside it: where that is no more than four fifths of it, four fifths are more than the machine
could do at times, and who is due then has to wait. Medians of {rounds} rounds of {secs} seconds a load; p99 also by
round."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Executions of ten workers, and for how long each load is measured."""

    executions: int = 500
    secs: float = 15.0


QUICK = Sizes(5, 1.0)


Run = tuple["Greatest", list["Lateness"]]
"""What one round on one database found: the greatest load, and how late calls came at each share of it."""


@dataclass(frozen=True, slots=True)
class Greatest:
    """Calls a second when all are overdue, and in the slowest second of that."""

    rate: float
    slowest: float


@dataclass(frozen=True, slots=True)
class Lateness:
    """At one load: calls a second, and milliseconds from due time to call."""

    rate: float
    p50_ms: float
    p99_ms: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """All loads on both databases, in turns."""
    found: dict[Kind, list[Run]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for kind, runs in found.items():
                with staged(stores, kind) as stage:
                    runs.append(_run(stage, sizes))
                tell(f"due, {NAMES[kind]}: {runs[-1]}")
    return _findings(found, sizes, rounds)


def _run(stage: Stage, sizes: Sizes) -> Run:
    workers = sizes.executions * WORKERS
    state = state_of(Load(sizes.executions, 1))
    with stage.node() as server:
        install(server, stage.sink)
        stage.sink.pace(OVERLOAD_PAUSE_SECS)
        launch(server, (order(number_, state) for number_ in range(sizes.executions)))
        stage.sink.wait_for_calls((1 + CYCLES_TO_SPREAD) * workers)
        greatest = _greatest(stage, sizes.secs)
        return greatest, [_at(stage, workers, greatest.rate * share, sizes.secs) for share in SHARES]


def _greatest(stage: Stage, secs: float) -> Greatest:
    rates = [stage.sink.rate(min(1.0, secs)) for _ in range(max(1, round(secs)))]
    return Greatest(statistics.fmean(rates), min(rates))


def _at(stage: Stage, workers: int, rate: float, secs: float) -> Lateness:
    stage.sink.pace(workers / rate)
    stage.sink.forget()
    # By then they have lost step with each other.
    stage.sink.wait_for_calls(CYCLES_TO_SPREAD * workers)
    stage.sink.forget()
    measured = stage.sink.rate(secs)
    seen = stage.sink.seen()
    return Lateness(measured, seen["late_p50_ms"], seen["late_p99_ms"])


def _findings(found: dict[Kind, list[Run]], sizes: Sizes, rounds: int) -> Findings:
    rows: list[tuple[str, ...]] = []
    targets = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind, runs in found.items():
        rate, slowest = (median(getattr(run, name) for run, _ in runs) for name in Greatest.__slots__)
        rows.append((f"{NAMES[kind]}, greatest", number(rate), "-", "-", "-"))
        rows.append((f"{NAMES[kind]}, slowest second of it", number(slowest), "-", "-", "-"))
        for index, share in enumerate(SHARES):
            one = [loads[index] for _, loads in runs]
            rate, p50, p99 = (median(getattr(run, name) for run in one) for name in Lateness.__slots__)
            by_round = ", ".join(number(run.p99_ms) for run in one)
            rows.append((f"{NAMES[kind]}, {share:.0%} of it", number(rate), number(p50), number(p99), by_round))
            lines.setdefault(f"{NAMES[kind]} p50", []).append((share * 100, p50 or 0.0))
            lines.setdefault(f"{NAMES[kind]} p99", []).append((share * 100, p99 or 0.0))
        targets.append(at_most(f"due to call, p99 at {SHARES[-1]:.0%} load, {NAMES[kind]}", p99, 25, " ms"))
    method = METHOD.format(workers=number(sizes.executions * WORKERS), rounds=rounds, secs=number(sizes.secs))
    table = Table(("", "steps/s", "p50 ms", "p99 ms", "by round"), tuple(rows))
    chart = Chart("due", "From due time to call", "load, % of the greatest", "ms", lines)
    return Findings("From due time to call", method, (table,), (chart,), tuple(targets))


PART = Part("due", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
