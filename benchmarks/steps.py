"""Steps a second and what a step costs: the bare ceiling, ours on both databases, and other libraries, in turns.

    python -m benchmarks.steps [--executions 10 40 160] [--steps 300] [--peers dbos procrastinate] [--rounds 3]

The ceiling (`benchmarks/ceiling.py`) and ours have the first number of executions in flight, ten workers each; ours is
measured with the other numbers too, with as many steps in all. Executions are launched for one instant in the future,
so that launching is left out; what is measured ends with the last answer. `--peers` takes the beginnings of names, and
`none` leaves the other libraries out.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks import ceiling, floor
from benchmarks.findings import Chart, Findings, Table, Target, at_least, at_most, number, ratio
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, launch_for_one_instant, pid_of, staged
from benchmarks.part import Part, tell
from benchmarks.peers.comparison import HEAD, quickest, row, table, tried
from benchmarks.peers.contestants import POSTGRESQL, SQLITE, chosen
from benchmarks.peers.programs import NotRun, Peer
from benchmarks.processes import cpu_secs
from benchmarks.stores import Stores
from benchmarks.workload import Figures, Load, figures, medians, state_of
from tests.support.server import Server

DURABILITY: dict[Kind, str] = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
METHOD = """\
Executions of ten workers, in five apps; each worker makes one call after the other. The **ceiling** is our HTTP client
in a bare loop: it builds and signs the same payload, posts it, parses the answer and goes on, and keeps nothing. The
**floor** is that loop with what has to be kept of each answer written before the next call, by the statements that we
use, in commits that are shared as ours are: what an engine would reach that takes no time to decide. They and the first
lines of ours have {executions} executions, that is, {lanes} workers in flight, of {steps} steps each. The
other libraries have {peer_executions} executions of {peer_steps} steps, each a message or a workflow step that is
handed over durably, written as their documentation tells a careful user to, at most 100 calls in flight; what each
keeps on the disk is in its line. A **gap** is the time from an answer to the same worker's next call; that of the
others is mostly their queue, since all their workers are under way at once. CPU is that of the server or of the
library's processes, "store" that of PostgreSQL or Redis. Launching is left out for all. Medians of {rounds} rounds in
turns."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Ours and the ceiling: executions, and steps a worker of the first number of them; then the same of the peers."""

    executions: tuple[int, ...] = (10, 40, 160)
    steps: int = 300
    peers: tuple[str, ...] = ()
    peer_executions: int = 40
    peer_steps: int = 10
    timeout_secs: float = 120.0


QUICK = Sizes((1, 2), 5, ("procrastinate-1", "pgqueuer"), 2, 3, 30.0)


@dataclass(slots=True)
class _Results:
    bare: list[Figures] = field(default_factory=list)
    floors: dict[Kind, list[Figures]] = field(default_factory=dict)
    ours: dict[tuple[Kind, int], list[Figures]] = field(default_factory=dict)
    peers: dict[Peer, list[Figures | NotRun]] = field(default_factory=dict)


def measure(sizes: Sizes, rounds: int) -> Findings:
    """All of them, so many times."""
    results = _Results(peers={peer: [] for peer in chosen(",".join(sizes.peers))})
    with ExitStack() as stack:
        stores = Stores(stack)
        for number_ in range(rounds):
            tell(f"steps, round {number_ + 1} of {rounds}")
            _round(stores, sizes, results)
    return _findings(sizes, rounds, results)


def _round(stores: Stores, sizes: Sizes, results: _Results) -> None:
    loads = [Load(many, max(sizes.steps * sizes.executions[0] // many, 2)) for many in sizes.executions]
    for kind in KINDS:
        with staged(stores, kind) as stage:
            if kind == KINDS[0]:
                results.bare.append(ceiling.run(stage.sink, loads[0]))
                tell(f"ceiling: {results.bare[-1]}")
            results.floors.setdefault(kind, []).append(floor.run(stage.sink, stage.store, loads[0]))
            tell(f"floor, {NAMES[kind]}: {results.floors[kind][-1]}")
        with staged(stores, kind) as stage, stage.node() as server:
            install(server, stage.sink)
            for load in loads:
                found = run(stage, server, load)
                results.ours.setdefault((kind, load.executions), []).append(found)
                tell(f"{NAMES[kind]}, {load.executions} executions: {found}")
    peer_load = Load(sizes.peer_executions, sizes.peer_steps)
    for peer, tries in results.peers.items():
        tries.append(tried(peer, stores, peer_load, sizes.timeout_secs))
        tell(f"{peer.name}: {tries[-1]}")


def run(stage: Stage, server: Server, load: Load) -> Figures:
    """The load on a node that has the apps and is idle."""
    stage.sink.forget()
    begins = launch_for_one_instant(server, load.executions, state_of(load))
    # What launching cost is not counted, and what the first claim costs is.
    time.sleep(max(0.0, (begins - datetime.now(UTC)).total_seconds() - 0.1))
    own, store = cpu_secs(pid_of(server)), stage.store.cpu_secs()
    stage.sink.wait_for_the_last(load.lanes)
    own = cpu_secs(pid_of(server)) - own
    after = stage.store.cpu_secs()
    return figures(stage.sink.seen(), own, None if after is None or store is None else after - store)


def _findings(sizes: Sizes, rounds: int, results: _Results) -> Findings:
    first = sizes.executions[0]
    bare = medians(results.bare)
    ours = {place: medians(runs) for place, runs in results.ours.items()}
    floors = {kind: medians(runs) for kind, runs in results.floors.items()}
    rows = [row("**ceiling**", bare, "nothing is kept")]
    rows += [row(f"**floor, {NAMES[kind]}**", floors[kind], DURABILITY[kind]) for kind in KINDS]
    rows += [row(f"**ours, {NAMES[kind]}**", ours[kind, first], DURABILITY[kind]) for kind in KINDS]
    method = METHOD.format(
        executions=first,
        lanes=first * 10,
        steps=sizes.steps,
        peer_executions=sizes.peer_executions,
        peer_steps=sizes.peer_steps,
        rounds=rounds,
    )
    return Findings(
        "Steps",
        method,
        (Table(HEAD, (*rows, *table(results.peers).rows)), _ratios(bare, floors, ours, results)),
        _charts(bare, ours, sizes.executions),
        _targets(bare, ours, first, results),
    )


def _ratios(
    bare: Figures, floors: dict[Kind, Figures], ours: dict[tuple[Kind, int], Figures], results: _Results
) -> Table:
    others = {"best peer": "", "Procrastinate": "procrastinate", "DBOS": "dbos"}
    rows = []
    for kind in KINDS:
        speed = next(figures for (of, _), figures in ours.items() if of == kind).steps_per_sec
        times = [ratio(speed, quickest(results.peers, beginning)) for beginning in others.values()]
        parts = (f"{speed / one.steps_per_sec:.0%}" for one in (bare, floors[kind]))
        rows.append((f"ours, {NAMES[kind]}", *parts, *map(number, times)))
    return Table(
        ("steps/s of", "of the ceiling", "of the floor", *(f"x {name}" for name in others)),
        tuple(rows),
        "How many times:",
    )


def _charts(bare: Figures, ours: dict[tuple[Kind, int], Figures], sizes: tuple[int, ...]) -> tuple[Chart, ...]:
    speeds = {NAMES[kind]: [(size, ours[kind, size].steps_per_sec) for size in sizes] for kind in KINDS}
    costs = {NAMES[kind]: [(size, ours[kind, size].own_us) for size in sizes] for kind in KINDS}
    costs["PostgreSQL's own"] = [(size, ours["postgresql", size].store_us or 0.0) for size in sizes]
    flat = {"ceiling, 100 in flight": [(size, bare.steps_per_sec) for size in sizes]}
    across = "executions of ten workers at a time"
    return (
        Chart("steps", "Steps a second", across, "steps/s", speeds | flat),
        Chart("step-cost", "CPU of a step", across, "us of CPU a step", costs),
    )


def _targets(bare: Figures, ours: dict[tuple[Kind, int], Figures], first: int, results: _Results) -> tuple[Target, ...]:
    found = []
    for kind in KINDS:
        one, name = ours[kind, first], NAMES[kind]
        speed = one.steps_per_sec
        found += [
            at_least(f"steps/s of the ceiling's, {name}", 100 * speed / bare.steps_per_sec, 60, " %"),
            at_least(f"steps/s of the best peer's, {name}", ratio(speed, quickest(results.peers)), 4, " x"),
            at_least(
                f"steps/s of Procrastinate's, {name}", ratio(speed, quickest(results.peers, "procrastinate")), 20, " x"
            ),
            at_least(f"steps/s of DBOS's, {name}", ratio(speed, quickest(results.peers, "dbos")), 20, " x"),
            at_most(f"own CPU a step, {name}", one.own_us, 150, " us"),
            at_most(f"gap p99 of the ceiling's, {name}", ratio(one.gap_p99_ms, bare.gap_p99_ms), 2, " x"),
        ]
    return (*found, at_most("PostgreSQL's CPU a step", ours["postgresql", first].store_us, 40, " us"))


PART = Part("steps", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
