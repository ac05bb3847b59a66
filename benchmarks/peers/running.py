"""One measurement: a peer does the load, and the app, /proc and the clock say what it cost.

The peer's processes do a small load first, so that they have started and are connected, and are stopped (SIGSTOP) while
the load is handed in, so that neither their start nor the submission is in the figures.
"""

import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.app import Sink, running_sink
from benchmarks.peers.programs import PYTHON, START_SECS, NotRun, Peer, Programs
from benchmarks.processes import ENVIRONMENT, Group, running, settle, tree_cpu_secs
from benchmarks.stores import Store, Stores
from benchmarks.workload import Figures, Load, figures

WARM_UP = Load(executions=10, steps=2)
BUSY_SHARE = 0.25
STOP_SECS = 0.02


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
        # A second process may start more slowly.
        settle([worker.pid for worker in self.workers], BUSY_SHARE, START_SECS)
        self.sink.forget()
        self.programs.submit(load, when_ready=self._stop)
        peer_before, store_before = self._peer_secs(), self.store.cpu_secs()
        self._tell(signal.SIGCONT)
        self._wait(load, timeout_secs)
        store_secs = self.store.cpu_secs()
        used = None if store_secs is None or store_before is None else store_secs - store_before
        return figures(self.sink.seen(), self._peer_secs() - peer_before, used)

    def _wait(self, load: Load, timeout_secs: float) -> None:
        """Wait until all lanes are done."""
        until = time.monotonic() + timeout_secs
        while (seen := self.sink.count())["done"] < load.lanes:
            why = next((ended for worker in self.workers if (ended := worker.ended())), None)
            if time.monotonic() > until:
                why = f"was not done after {timeout_secs:.0f} s"
            if why:
                done = f"{seen['done']} of {load.lanes} lanes done, {seen['calls']} calls"
                raise NotRun(f"it {why}; {done}; {self.programs.last_words()}")
            time.sleep(0.05)

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
        return sum(tree_cpu_secs(worker.pid) for worker in self.workers)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self.workers:
            worker.tell(number)
