"""One lane of an execution: the facts about it that decisions depend on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app_sdk.protocol.answer import NewWorker
from app_sdk.protocol.frozen import frozen
from orchestrator.domain.states import ENDED_WORKER, WorkerStatus, check_worker_move

MAX_UNDELIVERED_BATCHES = 4
AHEAD = timedelta(milliseconds=20)
"""So long before it is due a worker may be claimed: its call need not wait for the commit of that, but for its time."""
BEFORE_FIRST_STEP = -1
"""The step that a callback belongs to which was answered to the execution that this one goes on from."""


@frozen
class Lease:
    """Who holds a claim, since when, and until when nobody else may take it over.

    `node`: the one that calls the app, or the executor that has pulled the step. `started`: when that one began.
    """

    node: str
    since: datetime
    until: datetime
    started: datetime | None = None


@dataclass(slots=True)
class Worker:
    """A worker as one transaction sees it.

    `step` numbers its turns and never restarts within an execution. `token` fences: it grows with every
    claim, and an answer counts only with the token of its claim. `due_at` is when it may be called next
    (READY) or when its wait ends in failure (AWAITING); None while the execution is pending. `retry_count`
    counts its unsuccessful calls in a row, `idle_steps` its steps in a row that changed nothing.
    """

    worker_id: int
    status: WorkerStatus = WorkerStatus.READY
    step: int = 0
    token: int = 0
    retry_count: int = 0
    idle_steps: int = 0
    due_at: datetime | None = None
    finished: bool = False
    """Its last applied answer was a plain `is_done`: a retry of the execution does not call it again."""
    waits: bool = False
    """Its last applied answer asked to wait for the others: until a step closes without an error and without that."""
    passed_over: bool = False
    """It was released since another worker last changed anything: should it wait again, the others go first."""
    awaited: int | None = None
    """The step whose answer last parked it for a callback."""
    resumes: bool = False
    """That await asked for another call when the callback has come."""
    called_back: bool = False
    """The callback of its last await goes into its calls: until a step closes without an error."""
    has_early_callback: bool = False
    """A callback came for its present step before the answer that may park it, and is kept."""
    undelivered: int = 0
    """Import batches of its steps that the collector has not accepted yet."""
    lease: Lease | None = None
    """The present claim's, while CALLING."""
    refused: str | None = None
    """What the collector said when it refused one of its batches for its content."""

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED_WORKER

    @property
    def is_released(self) -> bool:
        """Its wait for the others is over: the call carries their results."""
        return self.waits and self.status is not WorkerStatus.WAITING

    @property
    def has_awaited(self) -> bool:
        """It has awaited a callback in this execution, whatever came of that."""
        return self.awaited is not None and self.awaited > BEFORE_FIRST_STEP

    @property
    def is_held(self) -> bool:
        """Back-pressure: it is not called while too many of its batches are undelivered."""
        return self.undelivered > MAX_UNDELIVERED_BATCHES

    def is_claimed_with(self, token: int) -> bool:
        return self.status is WorkerStatus.CALLING and self.token == token

    def is_due(self, now: datetime) -> bool:
        return self.status is WorkerStatus.READY and self.due_at is not None and self.due_at <= now and not self.is_held

    def move(self, to: WorkerStatus, due_at: datetime | None = None) -> None:
        """Change the status; raises IllegalMove when the table does not allow it."""
        self.status = check_worker_move(self.status, to)
        self.due_at = due_at
        self.lease = None

    @property
    def resting_place(self) -> WorkerStatus:
        """Where its last applied answer left it, whatever has been called or has failed since."""
        if self.finished:
            return WorkerStatus.DONE
        return WorkerStatus.WAITING if self.waits else WorkerStatus.READY

    def restart(self, now: datetime) -> None:
        """Begin again, being done: due with a new state, while steps and tokens count on."""
        self.move(WorkerStatus.READY, now)
        self.retry_count = self.idle_steps = 0
        self.finished = self.waits = self.passed_over = self.called_back = False

    def resume(self) -> None:
        """Go on in a new attempt of the execution from the last applied step; due once that starts.

        One that had asked to wait does so again: the others resume too, and it needs what they come to.
        """
        self.move(self.resting_place)
        self.retry_count = self.idle_steps = 0
        self.passed_over = False


def spawn(workers: dict[int, Worker], asked: Iterable[NewWorker], now: datetime) -> tuple[frozenset[int], list[str]]:
    """Start the workers that an answer asks for, due at once; one that is done starts again.

    Returns the ids of those that (re)start, and a note on each that is left alone because it is still going.
    """
    spawned: set[int] = set()
    notes: list[str] = []
    for new in asked:
        existing = workers.get(new.worker_id)
        if existing is None:
            workers[new.worker_id] = Worker(new.worker_id, due_at=now)
        elif existing.status is WorkerStatus.DONE:
            existing.restart(now)
        else:
            notes.append(f"worker {new.worker_id} was left alone: it is {existing.status}")
            continue
        spawned.add(new.worker_id)
    return frozenset(spawned), notes
