"""The tables of executions and their workers.

A row that changes at every step (`workers`) holds nothing wide: what is long sits in a table beside it.
"""

from sqlalchemy import Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from orchestrator.store.columns import NEVER_REUSED, big, big_key

_OPEN = "status IN ('pending', 'running') AND open_workers > 0"


class Execution(SQLModel, table=True):
    """One launch of a task. `uid` is never chosen by a launcher: the keys sent to apps and collectors begin with it.

    `queues`: while it is pending, it waits for the running one of its group to end. `concurrency_key`: the JSON text
    of the value in its input that the limit of its task's executors counts by. `max_retries`: its launch's own, where
    that is not the task's.
    """

    __tablename__ = "executions"
    __table_args__ = (
        UniqueConstraint("workspace_id", "id"),
        UniqueConstraint("workspace_id", "number"),
        Index(
            "executions_open_group",
            "task_pk",
            "multiple_exec_key",
            sqlite_where=text(_OPEN),
            postgresql_where=text(_OPEN),
        ),
        Index(
            "executions_deadline_at",
            "deadline_at",
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
        Index(
            "executions_pending",
            "run_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("executions_app", "app_pk", "status"),
        Index("executions_task", "task_pk", "pk"),
        Index("executions_version", "version_pk"),
        Index(
            "executions_ended",
            "workspace_id",
            "status",
            "ended_at",
            "pk",
            sqlite_where=text("ended_at IS NOT NULL"),
            postgresql_where=text("ended_at IS NOT NULL"),
        ),
        NEVER_REUSED,
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    uid: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    workspace_id: str = Field(sa_column=Column(Text, nullable=False))
    id: str = Field(sa_column=Column(Text, nullable=False))
    number: int = Field(sa_column=big())
    app_pk: int = Field(sa_column=big())
    task_pk: int = Field(sa_column=big())
    version_pk: int = Field(sa_column=big())
    status: str = Field(sa_column=Column(Text, nullable=False))
    failing: bool = False
    attempt: int = 1
    open_workers: int = 1
    max_retries: int | None = None
    multiple_exec_key: str = Field(default="", sa_column=Column(Text, nullable=False))
    run_at: int | None = Field(default=None, sa_column=big(nullable=True))
    queues: bool = False
    concurrency_key: str | None = Field(default=None, sa_column=Column(Text))
    deadline_at: int | None = Field(default=None, sa_column=big(nullable=True))
    created_at: int = Field(sa_column=big())
    started_at: int | None = Field(default=None, sa_column=big(nullable=True))
    ended_at: int | None = Field(default=None, sa_column=big(nullable=True))
    message: str | None = Field(default=None, sa_column=Column(Text))


class ExecutionDetail(SQLModel, table=True):
    """What is wide, or seldom changes, about an execution.

    `beginning`: what its workers began with, where that is more than worker 0 with the input. `resumed_from`: the call
    of another execution that it goes on from. Both are JSON. `application`: what its event calls it by, where that is
    not its app. `launched_as`: the name of the task that a simple task was created by; `owner_id`: whose it is.
    """

    __tablename__ = "execution_details"
    execution_pk: int = Field(sa_column=big(primary_key=True))
    input: str = Field(sa_column=Column(Text, nullable=False))
    output: str | None = Field(default=None, sa_column=Column(Text))
    name: str | None = Field(default=None, sa_column=Column(Text))
    subtext: str | None = Field(default=None, sa_column=Column(Text))
    launched_by: str | None = Field(default=None, sa_column=Column(Text))
    beginning: str | None = Field(default=None, sa_column=Column(Text))
    resumed_from: str | None = Field(default=None, sa_column=Column(Text))
    application: str | None = Field(default=None, sa_column=Column(Text))
    launched_as: str | None = Field(default=None, sa_column=Column(Text))
    owner_id: int | None = Field(default=None, sa_column=big(nullable=True))


_DUE = "status = 'ready' AND NOT held AND pull_task_pk IS NULL AND due_at IS NOT NULL"
_PULL_DUE = "status = 'ready' AND NOT held AND pull_task_pk IS NOT NULL AND due_at IS NOT NULL"
_CALLING = "status = 'calling' AND pull_task_pk IS NULL"
_PULL_CALLING = "status = 'calling' AND pull_task_pk IS NOT NULL"


class Worker(SQLModel, table=True):
    """A lane of an execution: narrow, because it changes at every step. `held`: too many undelivered batches.

    `pull_task_pk`: the task whose executors claim its steps, which are never called; none where the app is called.
    `started_at`: when its executor began the step of the claim. A claim that is renewed changes no column that an
    index knows, so that PostgreSQL need not touch one: `lease_until` has none, and is looked for among the claims.
    """

    __tablename__ = "workers"
    __table_args__ = (
        Index("workers_due", "app_pk", "due_at", sqlite_where=text(_DUE), postgresql_where=text(_DUE)),
        Index("workers_calling", "app_pk", sqlite_where=text(_CALLING), postgresql_where=text(_CALLING)),
        Index(
            "workers_pull_due", "pull_task_pk", "due_at", sqlite_where=text(_PULL_DUE), postgresql_where=text(_PULL_DUE)
        ),
        Index(
            "workers_pull_calling",
            "pull_task_pk",
            sqlite_where=text(_PULL_CALLING),
            postgresql_where=text(_PULL_CALLING),
        ),
        Index(
            "workers_awaiting",
            "due_at",
            sqlite_where=text("status = 'awaiting'"),
            postgresql_where=text("status = 'awaiting'"),
        ),
    )
    execution_pk: int = Field(sa_column=big(primary_key=True))
    worker_id: int = Field(primary_key=True)
    app_pk: int = Field(sa_column=big())
    status: str = Field(sa_column=Column(Text, nullable=False))
    step: int = 0
    token: int = 0
    retry_count: int = 0
    idle_steps: int = 0
    due_at: int | None = Field(default=None, sa_column=big(nullable=True))
    finished: bool = False
    waits: bool = False
    passed_over: bool = False
    awaited: int | None = None
    resumes: bool = False
    called_back: bool = False
    early_callback: bool = False
    undelivered: int = 0
    held: bool = False
    pull_task_pk: int | None = Field(default=None, sa_column=big(nullable=True))
    refused: str | None = Field(default=None, sa_column=Column(Text))
    node: str | None = Field(default=None, sa_column=Column(Text))
    lease_until: int | None = Field(default=None, sa_column=big(nullable=True))
    claimed_at: int | None = Field(default=None, sa_column=big(nullable=True))
    started_at: int | None = Field(default=None, sa_column=big(nullable=True))


class WorkerState(SQLModel, table=True):
    """What is wide about a worker: its JSON state, and what it last told the operators."""

    __tablename__ = "worker_states"
    execution_pk: int = Field(sa_column=big(primary_key=True))
    worker_id: int = Field(primary_key=True)
    state: str = Field(sa_column=Column(Text, nullable=False))
    output: str | None = Field(default=None, sa_column=Column(Text))
    message: str | None = Field(default=None, sa_column=Column(Text))
    progress: str | None = Field(default=None, sa_column=Column(Text))
    subtext: str | None = Field(default=None, sa_column=Column(Text))
