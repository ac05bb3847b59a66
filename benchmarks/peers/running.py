"""One measurement: a peer does the load, and the app, /proc and the clock say what it cost.

The peer's processes do a small load first, so that they have started and are connected, and are stopped (SIGSTOP) while
the load is handed in, so that neither their start nor the submission is in the figures.
"""

import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.processes import ENVIRONMENT, Group, cpu_secs, running
from benchmarks.peers.programs import PYTHON, START_SECS, Load, NotRun, Peer, Programs
from benchmarks.peers.sink_process import Sink, running_sink
from benchmarks.peers.stores import Store, Stores

WARM_UP = Load(executions=10, steps=2)
QUIET_SECS = 0.5
BUSY_SHARE = 0.25
STOP_SECS = 0.02


@dataclass(frozen=True, slots=True)
class Figures:
    """Microseconds are of CPU, for each step; gaps are from an answer to the next call of the same lane."""

    steps_per_sec: float
    peer_us: float
    store_us: float | None
    gap_p50_ms: float | None
    gap_p99_ms: float | None
    repeated: int


def figures(seen: Mapping[str, Any], peer_secs: float, store_secs: float | None) -> Figures:
    """What the app has seen, and seconds of CPU, as figures. Raises NotRun when it has seen nothing."""
    if not seen["calls"] or seen["last"] <= seen["first"]:
        raise NotRun("the app was not called")
    calls = seen["calls"]
    return Figures(
        steps_per_sec=calls / (seen["last"] - seen["first"]),
        peer_us=peer_secs / calls * 1e6,
        store_us=None if store_secs is None else store_secs / calls * 1e6,
        gap_p50_ms=seen["gap_p50_ms"],
        gap_p99_ms=seen["gap_p99_ms"],
        repeated=seen["repeated"],
    )


def measure(peer: Peer, stores: Stores, load: Load, timeout_secs: float = 120.0) -> Figures:
    """Have the peer do the load, on a new store. Raises NotRun, with the reason."""
    if not PYTHON.exists():
        raise NotRun(f"{ENVIRONMENT.name} is missing; `make bench` makes it")
    try:
        with ExitStack() as stack:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))) / "log"
            store = stack.enter_context(stores.open(peer.store))
            sink = stack.enter_context(running_sink(log))
            programs = Programs(peer, store.url, sink.url, log)
            programs.prepare()
            workers = [stack.enter_context(running(programs.worker, log)) for _ in range(peer.copies)]
            return _Measurement(programs, workers, store, sink).take(load, timeout_secs)
    except (RuntimeError, AssertionError, OSError) as found:
        raise NotRun(str(found)) from found


@dataclass(frozen=True, slots=True)
class _Measurement:
    programs: Programs
    workers: list[Group]
    store: Store
    sink: Sink

    def take(self, load: Load, timeout_secs: float) -> Figures:
        self.programs.submit(WARM_UP)
        self._wait(WARM_UP, START_SECS)
        self._settle()
        self.sink.forget()
        self.programs.submit(load, when_ready=self._stop)
        peer_before, store_before = self._peer_secs(), self._store_secs()
        self._tell(signal.SIGCONT)
        seen = self._wait(load, timeout_secs)
        store_secs = self._store_secs()
        used = None if store_secs is None or store_before is None else store_secs - store_before
        return figures(seen, self._peer_secs() - peer_before, used)

    def _wait(self, load: Load, timeout_secs: float) -> dict[str, Any]:
        """What the app has seen when all lanes are done."""
        until = time.monotonic() + timeout_secs
        while (seen := self.sink.seen())["done"] < load.lanes:
            why = next((ended for worker in self.workers if (ended := worker.ended())), None)
            if time.monotonic() > until:
                why = f"was not done after {timeout_secs:.0f} s"
            if why:
                done = f"{seen['done']} of {load.lanes} lanes done, {seen['calls']} calls"
                raise NotRun(f"it {why}; {done}; {self.programs.last_words()}")
            time.sleep(0.05)
        return seen

    def _settle(self) -> None:
        """Wait until the peer's processes are all up and idle: a second one may start more slowly."""
        until = time.monotonic() + START_SECS
        busy = QUIET_SECS
        while busy > QUIET_SECS * BUSY_SHARE and time.monotonic() < until:
            before = self._peer_secs()
            time.sleep(QUIET_SECS)
            busy = self._peer_secs() - before

    def _stop(self) -> None:
        """Stop the peer's processes, at an instant when none of them holds a lock of SQLite's."""
        self._tell(signal.SIGSTOP)
        time.sleep(STOP_SECS)
        while not self.store.is_free():
            self._tell(signal.SIGCONT)
            time.sleep(STOP_SECS)
            self._tell(signal.SIGSTOP)
            time.sleep(STOP_SECS)

    def _peer_secs(self) -> float:
        return sum(cpu_secs(worker.pid) for worker in self.workers)

    def _store_secs(self) -> float | None:
        return None if self.store.pid is None else cpu_secs(self.store.pid)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self.workers:
            worker.tell(number)
