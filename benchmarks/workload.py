"""The one workload that everything is measured with: executions of ten workers, each of so many steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

APPS = 5
WORKERS = 10
_ROWS = ["x" * 10] * 68


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
    """What a run came to.

    `own_us`, `store_us`: microseconds of CPU a step, of who makes the calls and of its database server.
    `gap_…_ms`: from an answer to the same worker's next call. `repeated`: calls beyond one a step.
    """

    steps_per_sec: float
    own_us: float
    store_us: float
    gap_p50_ms: float
    gap_p99_ms: float
    repeated: int


def state_of(load: Load) -> dict[str, Any]:
    """What each worker begins with: about 1 KB of JSON."""
    return {"step": 0, "steps": load.steps, "rows": _ROWS}


def figures(seen: Mapping[str, Any], load: Load, *, own_secs: float, store_secs: float) -> Figures:
    """What the app has seen, and seconds of CPU, as figures."""
    calls = seen["calls"]
    return Figures(
        steps_per_sec=calls / (seen["last"] - seen["first"]),
        own_us=own_secs / calls * 1e6,
        store_us=store_secs / calls * 1e6,
        gap_p50_ms=seen["gap_p50_ms"],
        gap_p99_ms=seen["gap_p99_ms"],
        repeated=calls - load.lanes * load.steps,
    )
