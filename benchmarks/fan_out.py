"""Many executions launched through the API at once: launches a second, and how long it takes until the last has ended.

python -m benchmarks.fan_out [--executions 10 100 1000] [--at-once 8] [--rounds 3]
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.findings import Chart, Findings, Table, median, number
from benchmarks.node import KINDS, NAMES, Kind, Stage, install, launch, order, staged
from benchmarks.part import Part, tell
from benchmarks.stores import Stores
from benchmarks.workload import WORKERS, Load, state_of
from tests.support.server import Server, wait_for

METHOD = """\
Executions of ten workers, 1 KB of state each, one step a worker, launched by requests to `POST /v1/executions`,
{at_once} at a time, while those that were launched before are being called. Both times begin with the first request;
the last end is when the API lists no execution that is still pending or running, asked once the app has answered all.
The numbers of executions follow each other on one node; medians of {rounds} rounds."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many executions, and how many launches are under way at a time."""

    executions: tuple[int, ...] = (10, 100, 1000)
    at_once: int = 8


QUICK = Sizes((2, 5), 2)


@dataclass(frozen=True, slots=True)
class FanOut:
    """Launches a second, and seconds from the first launch to the last end."""

    launches_per_sec: float
    end_secs: float


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Every number on both databases, in turns."""
    found: dict[tuple[Kind, int], list[FanOut]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for kind in KINDS:
                with staged(stores, kind) as stage, stage.node() as server:
                    install(server, stage.sink)
                    for executions in sizes.executions:
                        one = _fan_out(stage, server, executions, sizes.at_once)
                        found.setdefault((kind, executions), []).append(one)
                        tell(f"fan-out, {NAMES[kind]}, {executions} executions: {one}")
    return _findings(found, sizes, rounds)


def _fan_out(stage: Stage, server: Server, executions: int, at_once: int) -> FanOut:
    stage.sink.forget()
    orders = [order(number_, state_of(Load(executions, 1))) for number_ in range(executions)]
    began = time.monotonic()
    launch(server, orders, at_once)
    launched = time.monotonic()
    stage.sink.wait_for_the_last(executions * WORKERS)
    wait_for(lambda: _all_have_ended(server), "the last end")
    return FanOut(executions / (launched - began), time.monotonic() - began)


def _all_have_ended(server: Server) -> bool:
    return not server.get("/v1/executions", status=["pending", "running"], limit=1)["items"]


def _findings(found: dict[tuple[Kind, int], list[FanOut]], sizes: Sizes, rounds: int) -> Findings:
    rows = []
    lines: dict[str, list[tuple[float, float]]] = {NAMES[kind]: [] for kind in KINDS}
    for (kind, executions), runs in found.items():
        speed, secs = (median(getattr(run, name) for run in runs) or 0.0 for name in FanOut.__slots__)
        workers = executions * WORKERS
        rows.append((f"{NAMES[kind]}, {number(executions)}", number(speed), number(secs), number(secs / workers * 1e6)))
        lines[NAMES[kind]].append((executions, secs))
    head = ("executions of ten workers", "launches/s", "last end, s", "us a worker")
    chart = Chart("fan-out", "Fan-out: from the first launch to the last end", "executions of ten workers", "s", lines)
    method = METHOD.format(at_once=sizes.at_once, rounds=rounds)
    charts = (chart,) if len(sizes.executions) > 1 else ()
    return Findings("Fan-out", method, (Table(head, tuple(rows)),), charts)


PART = Part("fan_out", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
