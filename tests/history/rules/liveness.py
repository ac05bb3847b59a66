"""Whether a run proves anything: enough of it worked; and, given time, it came to rest."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.history.app_log import Attempt
from tests.history.client_log import FaultWindow
from tests.history.dump import ENDED_EXECUTION
from tests.history.findings import Finding
from tests.history.history import History

LEAST_SHARE = 0.9


def available(history: History) -> Iterator[Finding]:
    """A run is void unless 90 % of the operations outside of fault windows worked, and there was one at all.

    An operation is a call of the API, which worked if its client knows the outcome; or a call of an app, which worked
    unless the app gave an answer that could be applied, and it was not. (What an app gets wrong on purpose is its own
    doing.) Those that touch a fault window do not count, nor do calls that a client aborted.
    """
    worked = operations(history)
    total = worked.total()
    if not total:
        yield Finding("availability", "void: nothing happened outside of the fault windows")
    elif worked[True] < LEAST_SHARE * total:
        share = f"{worked[True]:,} of {total:,} operations ({worked[True] / total:.0%})"
        yield Finding("availability", f"void: {share} outside of the fault windows worked, {LEAST_SHARE:.0%} must")


def operations(history: History) -> Counter[bool]:
    """How many operations outside of fault windows worked (True), and how many did not."""
    worked: Counter[bool] = Counter()
    faults = _FaultTimes(history.faults)
    for call in history.clients.calls:
        if not faults.touch(call.begin, call.end):
            worked[call.outcome != "unknown"] += 1
    applied = {id(call.source) for _, call in history.every_applied()}
    aborts = history.clients.by_execution("abort")
    for step, attempt in history.app.attempts():
        end = attempt.answered_at or attempt.at
        is_aborted = any(abort.begin <= end for abort in aborts.get(step.execution, []) if abort.may_have_worked)
        if not is_aborted and not faults.touch(attempt.at, end):
            worked[id(attempt) in applied or not attempt.is_applicable] += 1
    return worked


def converged(history: History) -> Iterator[Finding]:
    """At rest: every execution has ended, no batch waits to be delivered, no worker is being called."""
    for execution in history.dump.executions.values():
        if execution.status not in ENDED_EXECUTION:
            yield Finding("convergence", f"{execution} is still {execution.status}")
    for batch in history.dump.batches:
        if batch.status == "pending":
            yield Finding("convergence", f"batch {batch.key} was never delivered")
    for lane, worker in history.dump.workers.items():
        if worker.status == "calling":
            yield Finding("convergence", f"{history.name(lane)} is still being called")


def unused_attempts(history: History) -> Iterator[Attempt]:
    """Answers that could have been applied, and were not: the price of faults."""
    applied = {id(call.source) for _, call in history.every_applied()}
    return (one for _, one in history.app.attempts() if one.is_applicable and id(one) not in applied)


class _FaultTimes:
    """Fault windows, those that overlap as one, so that a long run's need not be gone through for each operation."""

    def __init__(self, windows: Iterable[FaultWindow]) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []
        for window in sorted(windows, key=lambda window: window.begin):
            if self._ends and window.begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], window.end)
            else:
                self._begins.append(window.begin)
                self._ends.append(window.end)

    def touch(self, begin: float, end: float) -> bool:
        """True if there was a fault at any time from `begin` to `end`."""
        before = bisect_right(self._begins, end) - 1
        return before >= 0 and self._ends[before] >= begin
