"""The tables of the engine. Times are integers: microseconds since the epoch, UTC, alike on both databases.

JSON that came from outside is kept as text, never as jsonb, which rewrites numbers and refuses NUL. A row that
changes at every step (`workers`) holds nothing wide: what is long sits in a table beside it.
"""

from sqlalchemy import Column, ForeignKey, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from orchestrator.store.columns import NEVER_REUSED, big, big_key, key_of, reference


class Workspace(SQLModel, table=True):
    """A tenant. `next_number` numbers its executions."""

    __tablename__ = "workspaces"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    secret_encrypted: str = Field(sa_column=Column(Text, nullable=False))
    next_number: int = Field(default=1, sa_column=big())
    created_at: int = Field(sa_column=big())


class App(SQLModel, table=True):
    """An installed manifest. A deleted app keeps its row, so that its history stays readable.

    `rate_recent`: the calls that its rate limit still counts, as JSON.
    """

    __tablename__ = "apps"
    __table_args__ = (
        Index(
            "apps_live_id",
            "workspace_id",
            "id",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        NEVER_REUSED,
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    workspace_id: str = Field(sa_column=Column(Text, ForeignKey("workspaces.id"), nullable=False))
    id: str = Field(sa_column=Column(Text, nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(sa_column=Column(Text, nullable=False))
    status_reason: str | None = Field(default=None, sa_column=Column(Text))
    manifest: str = Field(sa_column=Column(Text, nullable=False))
    webhook_endpoint: str | None = Field(default=None, sa_column=Column(Text))
    secret_encrypted: str = Field(sa_column=Column(Text, nullable=False))
    verify_tls: bool | None = None
    max_concurrent_calls: int = 20
    rate_calls: int | None = None
    rate_per_secs: float | None = None
    rate_recent: str | None = Field(default=None, sa_column=Column(Text))
    unanswered_calls: int = 0
    created_at: int = Field(sa_column=big())
    updated_at: int = Field(sa_column=big())
    deleted_at: int | None = Field(default=None, sa_column=big(nullable=True))

    @property
    def key(self) -> int:
        return key_of(self.pk)


class AppState(SQLModel, table=True):
    """An app's JSON state. `version` grows with every change; the row is the lock of the mutations."""

    __tablename__ = "app_states"
    app_pk: int = Field(sa_column=reference("apps.pk", primary_key=True))
    version: int = Field(default=0, sa_column=big())
    state: str = Field(default="{}", sa_column=Column(Text, nullable=False))


class Task(SQLModel, table=True):
    """A task of an app. One that a later manifest leaves out keeps its row, with `removed_at`."""

    __tablename__ = "tasks"
    __table_args__ = (
        Index(
            "tasks_live_id",
            "workspace_id",
            "id",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
        NEVER_REUSED,
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    workspace_id: str = Field(sa_column=Column(Text, ForeignKey("workspaces.id"), nullable=False))
    app_pk: int = Field(sa_column=reference("apps.pk"))
    id: str = Field(sa_column=Column(Text, nullable=False))
    name: str = Field(sa_column=Column(Text, nullable=False))
    version_pk: int | None = Field(default=None, sa_column=big(nullable=True))
    is_paused: bool = False
    created_at: int = Field(sa_column=big())
    updated_at: int = Field(sa_column=big())
    removed_at: int | None = Field(default=None, sa_column=big(nullable=True))

    @property
    def key(self) -> int:
        return key_of(self.pk)


class TaskAlias(SQLModel, table=True):
    """Another system's name for a task, unique in the workspace."""

    __tablename__ = "task_aliases"
    workspace_id: str = Field(sa_column=Column(Text, primary_key=True))
    alias: str = Field(sa_column=Column(Text, primary_key=True))
    task_pk: int = Field(sa_column=reference("tasks.pk"))


class TaskVersion(SQLModel, table=True):
    """A task's definition as an execution was launched with it; never changed once written."""

    __tablename__ = "task_versions"
    __table_args__ = (UniqueConstraint("task_pk", "version"), NEVER_REUSED)
    pk: int | None = Field(default=None, sa_column=big_key())
    task_pk: int = Field(sa_column=reference("tasks.pk"))
    version: int
    definition: str = Field(sa_column=Column(Text, nullable=False))
    created_at: int = Field(sa_column=big())


class Schedule(SQLModel, table=True):
    """When a task is due next: its next slot, and that slot moved by the jitter. None: it never matches again."""

    __tablename__ = "schedules"
    __table_args__ = (Index("schedules_due_at", "due_at"),)
    task_pk: int = Field(sa_column=reference("tasks.pk", primary_key=True))
    definition: str = Field(sa_column=Column(Text, nullable=False))
    anchor_at: int = Field(sa_column=big())
    next_slot_at: int | None = Field(default=None, sa_column=big(nullable=True))
    due_at: int | None = Field(default=None, sa_column=big(nullable=True))


class OverlapGroup(SQLModel, table=True):
    """The lock of a task and `multiple_exec_key`: launches and promotions of a group take turns on it."""

    __tablename__ = "overlap_groups"
    task_pk: int = Field(sa_column=reference("tasks.pk", primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))


_OPEN = "status IN ('pending', 'running') AND open_workers > 0"


class Execution(SQLModel, table=True):
    """One launch of a task. `uid` is never chosen by a launcher: the keys sent to apps and collectors begin with it.

    `queues`: while it is pending, it waits for the running one of its group to end.
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
    multiple_exec_key: str = Field(default="", sa_column=Column(Text, nullable=False))
    run_at: int | None = Field(default=None, sa_column=big(nullable=True))
    queues: bool = False
    deadline_at: int | None = Field(default=None, sa_column=big(nullable=True))
    created_at: int = Field(sa_column=big())
    started_at: int | None = Field(default=None, sa_column=big(nullable=True))
    ended_at: int | None = Field(default=None, sa_column=big(nullable=True))
    message: str | None = Field(default=None, sa_column=Column(Text))


class ExecutionDetail(SQLModel, table=True):
    """What is wide, or seldom changes, about an execution.

    `beginning`: what its workers began with, where that is more than worker 0 with the input. `resumed_from`: the call
    of another execution that it goes on from. Both are JSON. `application`: what its event calls it by, where that is
    not its app.
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


_DUE = "status = 'ready' AND NOT held AND NOT pull AND due_at IS NOT NULL"


class Worker(SQLModel, table=True):
    """A lane of an execution: narrow, because it changes at every step. `held`: too many undelivered batches.

    `pull`: its task's steps are claimed by executors, never called. A claim that is renewed changes no column that an
    index knows, so that PostgreSQL need not touch one: `lease_until` has none, and is looked for among the claims.
    """

    __tablename__ = "workers"
    __table_args__ = (
        Index("workers_due", "app_pk", "due_at", sqlite_where=text(_DUE), postgresql_where=text(_DUE)),
        Index(
            "workers_calling",
            "app_pk",
            sqlite_where=text("status = 'calling'"),
            postgresql_where=text("status = 'calling'"),
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
    pull: bool = False
    refused: str | None = Field(default=None, sa_column=Column(Text))
    node: str | None = Field(default=None, sa_column=Column(Text))
    lease_until: int | None = Field(default=None, sa_column=big(nullable=True))
    claimed_at: int | None = Field(default=None, sa_column=big(nullable=True))


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
