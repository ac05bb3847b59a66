"""Group commit: what arrives while one transaction is being committed shares the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from orchestrator.domain.errors import DatabaseUnavailable

T = TypeVar("T")
R = TypeVar("R")

LARGEST = 256
UNAVAILABLE_WAIT_SECS = 0.2


class GroupCommit(Generic[T, R]):
    """Hands items to `commit` in batches. If the database refuses a batch, each item is done again on its own."""

    def __init__(
        self,
        commit: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        rescue: Callable[[T, Exception], Awaitable[R]],
        largest: int = LARGEST,
        gather: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`rescue` decides what becomes of an item that failed alone; it may raise. `largest`: items of a commit.

        `gather`: waits, when there was nothing to do before, for what shall be in the first commit.
        """
        self._commit = commit
        self._rescue = rescue
        self._largest = largest
        self._gather = gather
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("group_commit")

    @property
    def is_busy(self) -> bool:
        """Whether a commit is under way, or on the point of it."""
        return self._worker is not None and not self._worker.done()

    async def submit(self, item: T) -> R:
        """Commit the item with others; returns its result after the commit, raises what its own commit raised."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if not self.is_busy:
            self._worker = asyncio.create_task(self._drain(), name="group-commit")
        return await done

    async def insist(self, item: T, until: float, on_outage: Callable[[], None] | None = None) -> R:
        """Submit the item, again and again while the database is away, up to `until` on the event loop's clock.

        Whoever has an answer in hand keeps it so long: a restart of the database costs no second call.
        """
        while True:
            try:
                return await self.submit(item)
            except DatabaseUnavailable:
                if on_outage is not None:
                    on_outage()
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(UNAVAILABLE_WAIT_SECS)

    async def _drain(self) -> None:
        if self._gather is not None:
            await self._gather()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            await self._commit_batch(batch)

    async def _commit_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._commit([item for item, _ in batch])
        except DatabaseUnavailable as error:
            # No item is to blame, and none would fare better on its own.
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001 - logged; each item's own commit then tells whose fault it is
            self._log.warning("a batch was refused; its items go one by one", size=len(batch), error=repr(error))
            for item, done in batch:
                await self._commit_alone(item, done)
            return
        for (_, done), result in zip(batch, results, strict=True):
            if not done.done():
                done.set_result(result)

    async def _commit_alone(self, item: T, done: asyncio.Future[R]) -> None:
        try:
            [result] = await self._commit([item])
        except DatabaseUnavailable as error:
            if not done.done():
                done.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001 - `rescue` decides what becomes of it
            try:
                result = await self._rescue(item, error)
            except Exception as fatal:  # noqa: BLE001 - raised to whoever submitted the item
                if not done.done():
                    done.set_exception(fatal)
                return
        if not done.done():
            done.set_result(result)
