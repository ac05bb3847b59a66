"""A run as the checker sees it: what the witnesses saw, joined with what the database says."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.history.app_log import AppLog, Attempt, StepId, Talk, read_app_logs
from tests.history.client_log import ClientLog, FaultWindow, read_client_logs, read_fault_log
from tests.history.collector_log import CollectorLog, read_collector_log
from tests.history.dump import CallRow, Dump, Execution, Worker
from tests.history.effects import Effects
from tests.history.json_lines import Source

Lane = tuple[int, int]
"""A worker of an execution, by the execution's key in the database and the worker's id."""


@dataclass(slots=True)
class Call:
    """The record of a call. Of an applied answer, `source` is the request that the app answered with it.

    `problem` says why no source was found: the app never gave this answer.
    """

    token: int
    step: int
    attempt: int
    outcome: str
    items: int
    spawned: Mapping[int, int]
    source: Attempt | None = None
    problem: str | None = None

    @property
    def is_applied(self) -> bool:
        return self.outcome == "applied"

    @property
    def effects(self) -> Effects | None:
        """What the applied answer asked for, in the app's own words."""
        return None if self.source is None else self.source.answer


@dataclass(slots=True)
class Logs:
    """Where to read what the witnesses saw. `secrets` sign calls, `collector_secrets` deliveries."""

    app: Sequence[Source]
    collector: Source | None = None
    clients: Sequence[Source] | None = None
    faults: Source | None = None
    secrets: Sequence[str] = ()
    collector_secrets: Sequence[str] = ()


@dataclass(slots=True)
class History:
    """Everything that the rules look at. `lanes` holds each worker's calls in the order of their tokens."""

    dump: Dump
    app: AppLog
    collector: CollectorLog | None
    clients: ClientLog
    faults: list[FaultWindow]
    lanes: dict[Lane, list[Call]] = field(default_factory=dict)
    by_id: dict[str, Execution] = field(default_factory=dict)

    def step_id(self, lane: Lane, step: int) -> StepId:
        """The step by the names that the app sees."""
        execution = self.dump.executions[lane[0]]
        return StepId(execution.workspace, execution.id, lane[1], step)

    def talk(self, lane: Lane, step: int) -> Talk | None:
        """What was said with the app about a step; None if nothing was."""
        return self.app.talks.get(self.step_id(lane, step))

    def name(self, lane: Lane) -> str:
        execution = self.dump.executions.get(lane[0])
        return f"execution {execution.id if execution else f'#{lane[0]}'} worker {lane[1]}"

    def applied(self, lane: Lane) -> Iterator[Call]:
        """The calls of a worker whose answers were applied, in the order of their tokens."""
        return (call for call in self.lanes.get(lane, ()) if call.is_applied)

    def every_applied(self) -> Iterator[tuple[Lane, Call]]:
        for lane in self.lanes:
            for call in self.applied(lane):
                yield lane, call

    def workers_of(self, execution_pk: int) -> list[Worker]:
        found = (self.dump.workers.get((execution_pk, worker_id)) for worker_id in range(10))
        return [worker for worker in found if worker is not None]


def read_history(dump: Dump, logs: Logs) -> History:
    """Read the logs, and find for every applied call the answer that was applied."""
    history = History(
        dump=dump,
        app=read_app_logs(logs.app, logs.secrets),
        collector=None if logs.collector is None else read_collector_log(logs.collector, logs.collector_secrets),
        clients=read_client_logs(logs.clients),
        faults=read_fault_log(logs.faults),
        by_id={execution.id: execution for execution in dump.executions.values()},
    )
    for row in dump.calls:
        lane = (row.execution_pk, row.worker_id)
        history.lanes.setdefault(lane, []).append(_joined(history, lane, row))
    return history


def _joined(history: History, lane: Lane, row: CallRow) -> Call:
    call = Call(row.token, row.step, row.attempt, row.outcome, row.items, row.spawned)
    if not call.is_applied:
        return call
    if lane[0] not in history.dump.executions:
        call.problem = "it belongs to no execution"
        return call
    talk = history.talk(lane, row.step)
    answered = [attempt for attempt in talk.attempts if attempt.is_applicable] if talk else []
    if not answered:
        call.problem = "the app never gave an answer that could be applied" if talk else "the app was never asked"
        return call
    call.source = _source(row, answered)
    if call.source is None:
        call.problem = f"what was recorded as applied is none of the app's {len(answered)} answers"
    return call


def _source(row: CallRow, answered: Iterable[Attempt]) -> Attempt | None:
    record = Effects.of(row.answer)
    if record is None:
        return None
    for attempt in answered:
        answer = attempt.answer
        if answer is None or answer.mark != record.mark:
            continue
        if answer.is_recorded_as(record, row.items):
            return attempt
    return None
