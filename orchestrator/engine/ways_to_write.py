"""Where the answers of a commit are written from: the event loop's thread, or one that may take its time."""

from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from orchestrator.service.report import Report
from orchestrator.store.database import Database
from orchestrator.store.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")

# To write so much takes some 10 ms.
LARGE_CHARACTERS = 1024 * 1024


class Write(Protocol):
    """As `Database.write`."""

    async def __call__(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


def way_to_write(database: Database, reports: Sequence[Report]) -> Write:
    """The event loop's thread, in which the answers are at hand, unless it would stand still for too long."""
    is_large = sum(one.size for one in reports) > LARGE_CHARACTERS
    return database.write if is_large else database.write_here
