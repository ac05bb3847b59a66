"""I6: the states of workers are what their applied answers and their spawns left."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.history.findings import Finding
from tests.history.history import Call, History, Lane


@dataclass(frozen=True, slots=True)
class _Spawn:
    """A worker was (re)started by an applied answer, when it had the token. `state` is None if it is unknown."""

    token: int
    state: bytes | None


@dataclass(slots=True)
class _Walk:
    """Where a worker's state has come to. `state` is None while nobody can tell what it should be."""

    spawns: list[_Spawn]
    state: bytes | None

    def spawn_before(self, token: int | None) -> None:
        """Take in the spawns that came before a claim; all that are left if there was none after them."""
        while self.spawns and (token is None or self.spawns[0].token < token):
            self.state = self.spawns.pop(0).state


def as_applied(history: History) -> Iterator[Finding]:
    """I6: each call carries, and at the end each worker has, the state that its last applied update left.

    Or what it began with: the input, a seed of the launch, or the state of its last spawn. Tokens tell how a worker's
    own calls and its spawns follow each other. Every worker was launched or spawned, and a worker that was spawned
    was asked for.
    """
    spawns, unasked = _spawns(history)
    yield from unasked
    for lane, worker in history.dump.workers.items():
        execution = history.dump.executions.get(lane[0])
        if execution is None or execution.seeds is None:
            continue
        seed = execution.seeds.get(lane[1])
        if seed is None and not spawns[lane]:
            yield Finding("I6", f"{history.name(lane)} was neither launched nor spawned")
            continue
        walk = _Walk(sorted(spawns[lane], key=lambda spawn: spawn.token), seed.state if seed else None)
        yield from _follow(history, lane, walk)
        walk.spawn_before(None)
        yield from _asked_with(history, lane, worker.step, walk.state)
        if walk.state is not None and worker.state is not None and worker.state != walk.state:
            yield Finding("I6", f"{history.name(lane)} does not have the state that its last applied answer left")
    yield from _never_spawned(history)


def _spawns(history: History) -> tuple[dict[Lane, list[_Spawn]], list[Finding]]:
    spawns: dict[Lane, list[_Spawn]] = defaultdict(list)
    unasked = []
    for lane, call in history.every_applied():
        for worker_id, token in call.spawned.items():
            asked = None if call.effects is None else call.effects.spawns
            state = None if asked is None else asked.get(worker_id)
            spawns[lane[0], worker_id].append(_Spawn(token, state))
            if asked is not None and worker_id not in asked:
                text = f"step {call.step} spawned worker {worker_id}, which its answer did not ask for"
                unasked.append(Finding("I6", f"{history.name(lane)} {text}"))
    return spawns, unasked


def _follow(history: History, lane: Lane, walk: _Walk) -> Iterator[Finding]:
    seen = -1
    for call in history.lanes.get(lane, ()):
        walk.spawn_before(call.token)
        if call.step > seen:
            seen = call.step
            yield from _asked_with(history, lane, call.step, walk.state)
        if call.is_applied:
            walk.state = _after(call, walk.state)


def _after(call: Call, state: bytes | None) -> bytes | None:
    if call.effects is None:
        return None
    return call.effects.state or state


def _asked_with(history: History, lane: Lane, step: int, state: bytes | None) -> Iterator[Finding]:
    talk = history.talk(lane, step)
    if talk is None or state is None:
        return
    wrong = sum(attempt.state != state for attempt in talk.attempts)
    if wrong:
        text = f"{wrong} of {len(talk.attempts)} calls carried another state than the worker had"
        yield Finding("I6", f"{history.name(lane)} step {step}: {text}")


def _never_spawned(history: History) -> Iterator[Finding]:
    """A spawn may be refused while the execution fails; one that succeeded at once never failed."""
    for lane, call in history.every_applied():
        execution = history.dump.executions.get(lane[0])
        if call.effects is None or execution is None or (execution.status, execution.attempt) != ("succeeded", 1):
            continue
        for worker_id in call.effects.spawns:
            if (lane[0], worker_id) not in history.dump.workers:
                text = f"step {call.step} asked for worker {worker_id}, which does not exist"
                yield Finding("I6", f"{history.name(lane)} {text}")
