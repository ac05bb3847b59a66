"""The tables that record what happened, the outbox, the built-in collector, and what guards the doors."""

from sqlalchemy import Column, Index, Text, text
from sqlmodel import Field, SQLModel

from orchestrator.store.columns import NEVER_REUSED, big, big_key, reference


class Occurrence(SQLModel, table=True):
    """What became of a due slot: its primary key is what makes a slot launch once.

    It outlives its execution: `execution_pk` then names one that is no more. `late_by`: microseconds. `slots`: how many
    it stands for, itself and those just before it.
    """

    __tablename__ = "occurrences"
    __table_args__ = (Index("occurrences_recorded_at", "recorded_at"),)
    task_pk: int = Field(sa_column=reference("task_definitions.pk", primary_key=True))
    slot_at: int = Field(sa_column=big(primary_key=True))
    outcome: str = Field(sa_column=Column(Text, nullable=False))
    reason: str | None = Field(default=None, sa_column=Column(Text))
    execution_pk: int | None = Field(default=None, sa_column=big(nullable=True))
    late_by: int = Field(default=0, sa_column=big())
    slots: int = Field(default=1, sa_column=big())
    note: str | None = Field(default=None, sa_column=Column(Text))
    recorded_at: int = Field(sa_column=big())


class Call(SQLModel, table=True):
    """One HTTP request to an app, or one claim by a pull executor. `token` is the claim's fencing token.

    Of an applied answer: `spawned` tells which workers it (re)started, and at which token, as JSON; `rests` in which
    status a retry would find its worker. `digest`: of what an executor ended its claim with, so that the same again
    is known.
    """

    __tablename__ = "calls"
    execution_pk: int = Field(sa_column=big(primary_key=True))
    worker_id: int = Field(primary_key=True)
    token: int = Field(primary_key=True)
    step: int
    attempt: int
    retry_count: int
    outcome: str = Field(sa_column=Column(Text, nullable=False))
    failure: str | None = Field(default=None, sa_column=Column(Text))
    http_status: int | None = None
    message: str | None = Field(default=None, sa_column=Column(Text))
    notes: str | None = Field(default=None, sa_column=Column(Text))
    spawned: str | None = Field(default=None, sa_column=Column(Text))
    rests: str | None = Field(default=None, sa_column=Column(Text))
    answer: str | None = Field(default=None, sa_column=Column(Text))
    digest: str | None = Field(default=None, sa_column=Column(Text))
    items: int = 0
    node: str | None = Field(default=None, sa_column=Column(Text))
    started_at: int | None = Field(default=None, sa_column=big(nullable=True))
    ended_at: int = Field(sa_column=big())


class LogLine(SQLModel, table=True):
    """A line that an app wrote into its answer."""

    __tablename__ = "log_lines"
    __table_args__ = (Index("log_lines_execution", "execution_pk", "pk"),)
    pk: int | None = Field(default=None, sa_column=big_key())
    execution_pk: int = Field(sa_column=big())
    worker_id: int
    step: int
    line: str = Field(sa_column=Column(Text, nullable=False))
    logged_at: int = Field(sa_column=big())


_UNDELIVERED = "status IN ('pending', 'refused')"
_DELIVERABLE = "status = 'pending' AND due_at IS NOT NULL"


class ImportBatch(SQLModel, table=True):
    """The outbox: a batch of items on its way to the collector.

    Only the first undelivered batch of a worker has a `due_at`, so that the batches of one worker arrive in order and
    the sender never walks over those that must wait. The items are dropped when the collector has them. `node`: who is
    sending it, until `due_at`.
    """

    __tablename__ = "import_batches"
    __table_args__ = (
        Index("import_batches_due", "due_at", sqlite_where=text(_DELIVERABLE), postgresql_where=text(_DELIVERABLE)),
        Index(
            "import_batches_undelivered",
            "execution_pk",
            "worker_id",
            "pk",
            sqlite_where=text(_UNDELIVERED),
            postgresql_where=text(_UNDELIVERED),
        ),
        Index(
            "import_batches_node",
            "node",
            sqlite_where=text("node IS NOT NULL"),
            postgresql_where=text("node IS NOT NULL"),
        ),
        Index("import_batches_listed", "workspace_id", "pk"),
        Index("import_batches_execution", "execution_pk", "pk"),
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    workspace_id: str = Field(sa_column=Column(Text, nullable=False))
    execution_pk: int = Field(sa_column=big())
    worker_id: int
    step: int
    part: int
    key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    items: str | None = Field(default=None, sa_column=Column(Text))
    item_count: int
    status: str = Field(sa_column=Column(Text, nullable=False))
    tries: int = 0
    due_at: int | None = Field(default=None, sa_column=big(nullable=True))
    node: str | None = Field(default=None, sa_column=Column(Text))
    message: str | None = Field(default=None, sa_column=Column(Text))
    created_at: int = Field(sa_column=big())
    ended_at: int | None = Field(default=None, sa_column=big(nullable=True))


class PurgedExecution(SQLModel, table=True):
    """An execution that is gone, but has left more calls, log lines and batches than one transaction should remove."""

    __tablename__ = "purged_executions"
    execution_pk: int = Field(sa_column=big(primary_key=True))


class CollectedBatch(SQLModel, table=True):
    """A batch that the built-in collector has taken in; its key drops a second delivery."""

    __tablename__ = "collected_batches"
    __table_args__ = (Index("collected_batches_received_at", "received_at"),)
    workspace_id: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    item_count: int
    received_at: int = Field(sa_column=big())


class CollectedItem(SQLModel, table=True):
    """An item in the built-in collector."""

    __tablename__ = "collected_items"
    __table_args__ = (
        Index("collected_items_listed", "workspace_id", "pk"),
        Index("collected_items_kind", "workspace_id", "kind", "pk"),
        NEVER_REUSED,
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    workspace_id: str = Field(sa_column=Column(Text, nullable=False))
    batch_key: str = Field(sa_column=Column(Text, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    item: str = Field(sa_column=Column(Text, nullable=False))
    received_at: int = Field(sa_column=big())


class Token(SQLModel, table=True):
    """A bearer token: only its hash is kept. `app_pk` binds the role `app` to one app.

    `tasks`: the ids and aliases that the role `executor` is bound to, as a JSON list; none binds it to no task.
    `owner_id`: the user of another system on whose behalf it acts.
    """

    __tablename__ = "tokens"
    pk: int | None = Field(default=None, sa_column=big_key())
    id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    workspace_id: str = Field(sa_column=Column(Text, nullable=False, index=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    hash: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    app_pk: int | None = Field(default=None, sa_column=reference("apps.pk", nullable=True))
    tasks: str | None = Field(default=None, sa_column=Column(Text))
    owner_id: int | None = Field(default=None, sa_column=big(nullable=True))
    created_at: int = Field(sa_column=big())
    expires_at: int | None = Field(default=None, sa_column=big(nullable=True))
    revoked_at: int | None = Field(default=None, sa_column=big(nullable=True))


class IdempotencyRecord(SQLModel, table=True):
    """What a POST with an Idempotency-Key was answered; `answer` is None while the first one is in progress."""

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("idempotency_records_created_at", "created_at"),)
    workspace_id: str = Field(sa_column=Column(Text, primary_key=True))
    token_id: str = Field(sa_column=Column(Text, primary_key=True))
    route: str = Field(sa_column=Column(Text, primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
    body_hash: str = Field(sa_column=Column(Text, nullable=False))
    status: int | None = None
    answer: str | None = Field(default=None, sa_column=Column(Text))
    created_at: int = Field(sa_column=big())


class Node(SQLModel, table=True):
    """A process that takes part. Nothing recovers by its row, which is removed a day after its last sign of life."""

    __tablename__ = "nodes"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False))
    role: str = Field(sa_column=Column(Text, nullable=False))
    version: str = Field(sa_column=Column(Text, nullable=False))
    url: str = Field(sa_column=Column(Text, nullable=False))
    state: str = Field(sa_column=Column(Text, nullable=False))
    started_at: int = Field(sa_column=big())
    heartbeat_at: int = Field(sa_column=big())


class ServedRevision(SQLModel, table=True):
    """A revision of the schema whose programs may work on the present one; see `schema`."""

    __tablename__ = "served_revisions"
    revision: str = Field(sa_column=Column(Text, primary_key=True))


class Setting(SQLModel, table=True):
    """Facts about the installation itself, such as the value that proves the master key."""

    __tablename__ = "settings"
    name: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = Field(sa_column=Column(Text, nullable=False))
