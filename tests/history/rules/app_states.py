"""I5: the app states are what the applied mutations make of them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.history.dump import App
from tests.history.findings import Finding
from tests.history.history import Call, History, Lane
from tests.history.key_history import ABSENT, KeyHistory, Write


@dataclass(slots=True)
class _Replay:
    """What was applied to one app's state. `is_blind`: some applied answer is unknown, so that nothing is certain.

    `commits` counts the applied calls with mutations of each worker.
    """

    keys: dict[str, KeyHistory] = field(default_factory=dict)
    commits: Counter[Lane] = field(default_factory=Counter)
    is_blind: bool = False
    certain_clients: int = 0
    possible_clients: int = 0

    def write(self, writer: object, write: Write) -> None:
        self.keys.setdefault(write.mutation.key, KeyHistory()).add(writer, write)


def replayed(history: History) -> Iterator[Finding]:
    """I5: replaying the mutations of all applied answers, and of clients, gives exactly the stored app state.

    Nothing records in which order answers of different workers were applied: `app_states.version` counts commits, and
    one commit may hold the answers of many. But the order of one worker's own answers is certain. So, key by key:

    - only incremented: the exact sum, whatever the order (sums of floats up to their rounding);
    - written by one worker alone: its mutations replayed in their order, exactly;
    - set or deleted by several, never incremented: the last write of one of them, and of none of whom it is known that
      another one's write was applied later (the next step of a worker was asked for, so that its write was committed,
      before the other's answer was even given);
    - set and incremented by several: such a last write, and on top of it no more than all increments together.

    A client's mutation with an unknown outcome may or may not be in it. No other key exists. And `version` is at most
    the number of answers with mutations, at least that of the worker who had most of them.
    """
    replays = _replays(history)
    for app in history.dump.apps.values():
        if app.state is None:
            yield Finding("I5", f"app {app.id} has no state")
        elif not (replay := replays.get(app.pk, _Replay())).is_blind:
            yield from _check_keys(app, replay)
            yield from _check_version(app, replay)


def _replays(history: History) -> dict[int, _Replay]:
    replays: dict[int, _Replay] = {}
    for lane, call in history.every_applied():
        execution = history.dump.executions.get(lane[0])
        if execution is not None:
            _apply(history, replays.setdefault(execution.app_pk, _Replay()), lane, call)
    app_pks = {app.id: app.pk for app in history.dump.apps.values()}
    for number, asked in enumerate(history.clients.of("mutate")):
        app_pk = app_pks.get(str(asked.asked.get("app_id")))
        if app_pk is None or not asked.may_have_worked:
            continue
        replay = replays.setdefault(app_pk, _Replay())
        is_certain = asked.outcome == "ok"
        replay.certain_clients += is_certain
        replay.possible_clients += 1
        for write in Write.all_of(asked.asked["mutations"], is_certain=is_certain):
            replay.write(number, write)
    return replays


def _apply(history: History, replay: _Replay, lane: Lane, call: Call) -> None:
    effects = call.effects
    if effects is None or call.source is None or call.source.answered is None:
        replay.is_blind = True
        return
    if not effects.mutations:
        return
    replay.commits[lane] += 1
    following = history.talk(lane, call.step + 1)
    committed = None if following is None else following.begun
    for mutation in effects.mutations:
        replay.write(lane, Write(mutation, applied_after=call.source.answered, committed_before=committed))


def _check_keys(app: App, replay: _Replay) -> Iterator[Finding]:
    assert app.state is not None
    for key in sorted(app.state.keys() - replay.keys.keys()):
        yield Finding("I5", f"app {app.id} has the key {key!r}, which nobody has set")
    for key, written in replay.keys.items():
        fault = written.fault(app.state.get(key, ABSENT))
        if fault is not None:
            yield Finding("I5", f"app {app.id} key {key!r}: {fault}")


def _check_version(app: App, replay: _Replay) -> Iterator[Finding]:
    least = max(replay.commits.values(), default=0) + replay.certain_clients
    most = replay.commits.total() + replay.possible_clients
    if not least <= app.version <= most:
        yield Finding("I5", f"the state of app {app.id} is of version {app.version}: expected {least} to {most}")
