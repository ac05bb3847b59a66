"""From where claims and answers are written: the event loop's thread, or one that may take its time."""

from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from orchestrator.service.report import ReadyAnswer, Report
from orchestrator.store.database import Database
from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

# To write so much takes some 10 ms.
LARGE_BYTES = 1024 * 1024
# Each line of a log is a row.
LOG_LINE_BYTES = 128


class Write(Protocol):
    """As `Database.write`."""

    async def __call__(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


def way_to_answer(database: Database, reports: Sequence[Report]) -> Write:
    """The event loop's thread, in which the answers are at hand, unless it would stand still for too long."""
    is_large = sum(map(_weight, reports)) > LARGE_BYTES
    return database.write if is_large else database.write_here


def way_to_claim(database: Database) -> Write:
    """On PostgreSQL a claim may wait for the rows of an app that somebody holds, and no answer shall wait for it."""
    return database.write_here if database.dialect is Dialect.SQLITE else database.write


def _weight(report: Report) -> int:
    if not isinstance(report.meaning, ReadyAnswer):
        return report.size
    answer = report.meaning.answer
    if answer.output is not None and report.claim.step:
        # It is merged into what has been put out before, which may be any amount.
        return LARGE_BYTES + 1
    return report.size + LOG_LINE_BYTES * len(answer.logs)
