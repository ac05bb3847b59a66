"""The tables of what is installed: workspaces, apps, tasks, schedules.

Times, here and in the other tables, are integers: microseconds since the epoch, UTC, alike on both databases. JSON that
came from outside is kept as text, never as jsonb, which rewrites numbers and refuses NUL.
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

    __tablename__ = "task_definitions"
    __table_args__ = (
        Index(
            "task_definitions_live_id",
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
    task_pk: int = Field(sa_column=reference("task_definitions.pk"))


class TaskVersion(SQLModel, table=True):
    """A task's definition as an execution was launched with it; never changed once written."""

    __tablename__ = "task_versions"
    __table_args__ = (UniqueConstraint("task_pk", "version"), NEVER_REUSED)
    pk: int | None = Field(default=None, sa_column=big_key())
    task_pk: int = Field(sa_column=reference("task_definitions.pk"))
    version: int
    definition: str = Field(sa_column=Column(Text, nullable=False))
    created_at: int = Field(sa_column=big())


class Schedule(SQLModel, table=True):
    """When a task is due next: its next slot, and that slot moved by the jitter. None: it never matches again."""

    __tablename__ = "schedules"
    __table_args__ = (Index("schedules_due_at", "due_at"),)
    task_pk: int = Field(sa_column=reference("task_definitions.pk", primary_key=True))
    definition: str = Field(sa_column=Column(Text, nullable=False))
    anchor_at: int = Field(sa_column=big())
    next_slot_at: int | None = Field(default=None, sa_column=big(nullable=True))
    due_at: int | None = Field(default=None, sa_column=big(nullable=True))


class OverlapGroup(SQLModel, table=True):
    """The lock of a task and `multiple_exec_key`: launches and promotions of a group take turns on it."""

    __tablename__ = "overlap_groups"
    task_pk: int = Field(sa_column=reference("task_definitions.pk", primary_key=True))
    key: str = Field(sa_column=Column(Text, primary_key=True))
