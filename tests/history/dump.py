"""What a run left behind in the database, as plain values. Times are microseconds, JSON is parsed or digested."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.history.json_lines import Json

ENDED_EXECUTION = frozenset({"succeeded", "failed", "aborted"})
ENDED_WORKER = frozenset({"done", "failed", "aborted"})

NOBODY: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Seed:
    """What a worker began with when its execution was launched. `rests`: ready, waiting or done.

    `is_called_back`: it is to be told of a callback from the execution that it goes on from.
    """

    state: bytes
    rests: str = "ready"
    is_called_back: bool = False


@dataclass(slots=True)
class Execution:
    """`seeds` is None where the execution's details are missing; `input` is the digest of what it was launched with."""

    pk: int
    workspace: str
    id: str
    app_pk: int
    task_pk: int
    status: str
    failing: bool = False
    attempt: int = 1
    open_workers: int = 0
    ended_at: int | None = None
    is_scheduled: bool = False
    input: bytes = b""
    seeds: Mapping[int, Seed] | None = None

    def __str__(self) -> str:
        return f"execution {self.id}"


@dataclass(slots=True)
class Worker:
    """`state` is the digest of its JSON state; None where the row of its state is missing."""

    execution_pk: int
    id: int
    status: str
    step: int
    token: int
    undelivered: int = 0
    state: bytes | None = None


@dataclass(slots=True)
class CallRow:
    """The record of a call. `spawned`: the workers that its answer (re)started, with the tokens that they had."""

    execution_pk: int
    worker_id: int
    token: int
    step: int
    attempt: int
    outcome: str
    answer: Json | None = None
    items: int = 0
    spawned: Mapping[int, int] = field(default_factory=lambda: NOBODY)


@dataclass(frozen=True, slots=True)
class CallbackRow:
    """What became of the callback of an await: kept, applied, unused or timed_out."""

    execution_pk: int
    worker_id: int
    step: int
    fate: str


@dataclass(slots=True)
class App:
    """`state` is None where its row is missing; `version` counts the commits that changed it."""

    pk: int
    workspace: str
    id: str
    state: Json | None = None
    version: int = 0


@dataclass(slots=True)
class Batch:
    """An import batch in the outbox. `items`: the digests of those that are still there."""

    execution_pk: int
    worker_id: int
    step: int
    part: int
    key: str
    item_count: int
    status: str
    items: bytes | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What became of a schedule's slot."""

    task_pk: int
    slot_at: int
    outcome: str
    execution_pk: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """`interval` is in microseconds, None for a cron expression. `due_at`: when its next slot is looked at."""

    task_pk: int
    anchor_at: int
    next_slot_at: int | None
    due_at: int | None = None
    interval: int | None = None


@dataclass(slots=True)
class Dump:
    """The whole database. `collected`: what the built-in collector holds, as digests of items by the batch's key.

    `calls` come execution by execution, each worker's together, in the order of their tokens; they are read once.
    """

    executions: dict[int, Execution] = field(default_factory=dict)
    workers: dict[tuple[int, int], Worker] = field(default_factory=dict)
    apps: dict[int, App] = field(default_factory=dict)
    tasks: dict[int, str] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    collected: dict[str, bytes] = field(default_factory=dict)
    occurrences: list[Occurrence] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    callbacks: list[CallbackRow] = field(default_factory=list)
    calls: Iterable[CallRow] = ()
