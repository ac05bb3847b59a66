"""I1, I2, I3: steps are applied once each, in order, with an answer that the app gave."""

from collections import Counter
from collections.abc import Iterator

from tests.history.findings import Finding
from tests.history.history import History, Lane


def each_once(history: History) -> Iterator[Finding]:
    """I1: the applied steps of a worker are 0, 1, 2, ... once each, and it stands at the next one."""
    for lane in sorted(history.lanes.keys() | history.dump.workers.keys()):
        worker = history.dump.workers.get(lane)
        if worker is None:
            yield Finding("I1", f"{history.name(lane)} has calls, but does not exist")
            continue
        times = Counter(call.step for call in history.applied(lane))
        for step, count in times.items():
            if count > 1:
                tokens = ", ".join(str(call.token) for call in history.applied(lane) if call.step == step)
                yield Finding("I1", f"{history.name(lane)} step {step} was applied {count} times (tokens {tokens})")
        missing = sorted(set(range(worker.step)) - times.keys())
        if missing:
            yield Finding("I1", f"{history.name(lane)} is at step {worker.step}, but never applied {_shown(missing)}")
        beyond = sorted(step for step in times if step >= worker.step)
        if beyond:
            yield Finding("I1", f"{history.name(lane)} is at step {worker.step}, but has applied {_shown(beyond)}")


def really_answered(history: History) -> Iterator[Finding]:
    """I2: an applied answer is one that the app gave to a request of that very step."""
    for lane, call in history.every_applied():
        if call.problem is not None:
            yield Finding("I2", f"{history.name(lane)} step {call.step} (token {call.token}): {call.problem}")


def in_order(history: History) -> Iterator[Finding]:
    """I3: when the app is first asked for a step, it has given the answers that were applied to all earlier ones.

    A step that is asked for although the one before it was never applied is found here too.
    """
    latest: dict[Lane, int] = {}
    execution_pks = {(one.workspace, one.id): one.pk for one in history.dump.executions.values()}
    first_asked = {}
    for step, talk in history.app.talks.items():
        pk = execution_pks.get((step.workspace, step.execution))
        if pk is None:
            continue
        lane = (pk, step.worker)
        first_asked[lane, step.step] = talk.begun
        latest[lane] = max(latest.get(lane, 0), step.step)
    for lane, step_number in latest.items():
        worker = history.dump.workers.get(lane)
        if worker is not None and step_number > worker.step:
            yield Finding("I3", f"{history.name(lane)} was called for step {step_number}, and stands at {worker.step}")
    for lane, call in history.every_applied():
        asked = first_asked.get((lane, call.step + 1))
        given = None if call.source is None else call.source.answered
        if given is not None and asked is not None and asked < given:
            text = f"step {call.step + 1} was asked for before the answer that was applied to step {call.step}"
            yield Finding("I3", f"{history.name(lane)}: {text}")


def _shown(steps: list[int]) -> str:
    some = ", ".join(map(str, steps[:5]))
    return f"step {some}" if len(steps) == 1 else f"steps {some}" + (" ..." if len(steps) > 5 else "")
