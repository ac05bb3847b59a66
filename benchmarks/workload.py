"""The one workload that everything is measured with: executions of ten workers, each of so many steps, in five apps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from benchmarks.findings import median

APPS = 5
WORKERS = 10
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROWS = ["x" * 10] * 68


@dataclass(frozen=True, slots=True)
class Load:
    """How much is to be done; `delay_ms` is what the app takes for each step."""

    executions: int
    steps: int
    delay_ms: int = 0

    @property
    def lanes(self) -> int:
        """How many workers there are in all."""
        return self.executions * WORKERS


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to; None is what there is none of.

    `own_us`, `store_us`: microseconds of CPU a step, of who makes the calls and of its database server.
    `gap_…_ms`: from an answer to the same worker's next call. `repeated`: calls that a step had beyond its first.
    """

    steps_per_sec: float
    own_us: float
    store_us: float | None
    gap_p50_ms: float | None
    gap_p99_ms: float | None
    repeated: int


def state_of(load: Load) -> dict[str, Any]:
    """What each worker begins with: about 1 KB of JSON."""
    return {"step": 0, "steps": load.steps, "rows": ROWS}


def figures(seen: Mapping[str, Any], own_secs: float, store_secs: float | None) -> Figures:
    """What the app has seen, and seconds of CPU, as figures. Raises RuntimeError when it has seen nothing."""
    calls = seen["calls"]
    if not calls or seen["last"] <= seen["first"]:
        raise RuntimeError("the app was not called")
    return Figures(
        steps_per_sec=calls / (seen["last"] - seen["first"]),
        own_us=own_secs / calls * 1e6,
        store_us=None if store_secs is None else store_secs / calls * 1e6,
        gap_p50_ms=seen["gap_p50_ms"],
        gap_p99_ms=seen["gap_p99_ms"],
        repeated=seen["repeated"],
    )


def medians(runs: Sequence[Figures]) -> Figures:
    """Medians of at least one run; repeats are added up."""
    found: dict[str, Any] = {one.name: median(getattr(run, one.name) for run in runs) for one in fields(Figures)}
    return Figures(**found | {"repeated": sum(run.repeated for run in runs)})
