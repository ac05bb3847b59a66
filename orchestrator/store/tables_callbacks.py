"""The table of the callbacks that workers await."""

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from orchestrator.store.columns import big


class Callback(SQLModel, table=True):
    """What became of one await: of a worker, and the step whose answer parks it.

    `body` is the callback as apps are told of it, as JSON, and `digest` tells it from others; both are None where
    none came in time. `settled_at` is None while it is kept for an answer that has not come yet.
    """

    __tablename__ = "callbacks"
    execution_pk: int = Field(sa_column=big(primary_key=True))
    worker_id: int = Field(primary_key=True)
    step: int = Field(primary_key=True)
    fate: str = Field(sa_column=Column(Text, nullable=False))
    digest: str | None = Field(default=None, sa_column=Column(Text))
    body: str | None = Field(default=None, sa_column=Column(Text))
    received_at: int = Field(sa_column=big())
    settled_at: int | None = Field(default=None, sa_column=big(nullable=True))
