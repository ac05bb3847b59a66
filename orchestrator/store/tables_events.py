"""The tables of events: what was published, who wants it, and how far each of them has it."""

from sqlalchemy import Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from orchestrator.store.columns import NEVER_REUSED, big, big_key

_UNNUMBERED = "seq IS NULL"
_DUE = "status = 'pending'"


class Event(SQLModel, table=True):
    """An end of an execution, written in the transaction that ended it. `type` is its routing key, `data` JSON.

    `is_follow_up`: the execution was itself launched by an event; it launches no other, or there would be no end.
    `seq` is given after that commit, one publisher at a time: who has read up to a number has missed none below it.
    """

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("workspace_id", "seq"),
        Index("events_unnumbered", "pk", sqlite_where=text(_UNNUMBERED), postgresql_where=text(_UNNUMBERED)),
        NEVER_REUSED,
    )
    pk: int | None = Field(default=None, sa_column=big_key())
    id: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    workspace_id: str = Field(sa_column=Column(Text, nullable=False))
    app_pk: int = Field(sa_column=big())
    seq: int | None = Field(default=None, sa_column=big(nullable=True))
    type: str = Field(sa_column=Column(Text, nullable=False))
    subject: str = Field(sa_column=Column(Text, nullable=False))
    data: str = Field(sa_column=Column(Text, nullable=False))
    is_follow_up: bool = False
    created_at: int = Field(sa_column=big())


class Subscription(SQLModel, table=True):
    """Who wants which events. A deleted one keeps its row until its deliveries are removed.

    `failures`: tries in a row that failed; while there are any, one delivery at a time is tried, none before
    `retry_at`. `failing_since`: when the first of them was.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (UniqueConstraint("workspace_id", "id"), NEVER_REUSED)
    pk: int | None = Field(default=None, sa_column=big_key())
    id: str = Field(sa_column=Column(Text, nullable=False))
    workspace_id: str = Field(sa_column=Column(Text, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    target_url: str | None = Field(default=None, sa_column=Column(Text))
    task_pk: int | None = Field(default=None, sa_column=big(nullable=True))
    pattern: str = Field(sa_column=Column(Text, nullable=False))
    secret_encrypted: str | None = Field(default=None, sa_column=Column(Text))
    status: str = Field(sa_column=Column(Text, nullable=False))
    status_reason: str | None = Field(default=None, sa_column=Column(Text))
    failures: int = 0
    failing_since: int | None = Field(default=None, sa_column=big(nullable=True))
    retry_at: int | None = Field(default=None, sa_column=big(nullable=True))
    created_at: int = Field(sa_column=big())
    updated_at: int = Field(sa_column=big())
    deleted_at: int | None = Field(default=None, sa_column=big(nullable=True))


class EventDelivery(SQLModel, table=True):
    """An event on its way to a subscription. `node`: who is sending it, `due_at` being the end of the lease then."""

    __tablename__ = "event_deliveries"
    __table_args__ = (
        Index(
            "event_deliveries_due",
            "subscription_pk",
            "due_at",
            sqlite_where=text(_DUE),
            postgresql_where=text(_DUE),
        ),
        Index("event_deliveries_event", "event_pk"),
    )
    subscription_pk: int = Field(sa_column=big(primary_key=True))
    event_pk: int = Field(sa_column=big(primary_key=True))
    status: str = Field(sa_column=Column(Text, nullable=False))
    tries: int = 0
    due_at: int | None = Field(default=None, sa_column=big(nullable=True))
    node: str | None = Field(default=None, sa_column=Column(Text))
    message: str | None = Field(default=None, sa_column=Column(Text))
    created_at: int = Field(sa_column=big())
    ended_at: int | None = Field(default=None, sa_column=big(nullable=True))
