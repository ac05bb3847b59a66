"""Answers that are about to come: an app's calls that began together are mostly answered together.

If the first answer of ten to a node that has nothing else to do were committed alone, the other nine would wait for
that: two commits, and the second one is late.
"""

import asyncio
from time import monotonic

# The calls of one claim, or of one commit, begin one after the other.
TOGETHER_SECS = 0.001
# The answer of an app that takes its time says little about when the next one comes.
LONGEST_CALL_SECS = 0.005
LONGEST_WAIT_SECS = 0.002


class Gathering:
    """Knows the calls in flight. Whoever is about to commit the first answer waits for those that began with it."""

    def __init__(self) -> None:
        self._begun: dict[int, tuple[int, float]] = {}
        self._tickets = 0
        self._last_app, self._last_began, self._last_took = 0, 0.0, 0.0
        self._awaited: set[int] = set()
        self._all_came: asyncio.Future[None] | None = None

    def begin(self, app_pk: int) -> int:
        """A call of an app begins; returns what `end` is to be told."""
        self._tickets += 1
        self._begun[self._tickets] = app_pk, monotonic()
        return self._tickets

    def end(self, ticket: int) -> None:
        """A call has come to its end, with an answer or without."""
        self._last_app, self._last_began = self._begun.pop(ticket)
        self._last_took = monotonic() - self._last_began
        if ticket in self._awaited:
            self._awaited.discard(ticket)
            if not self._awaited:
                self._stop_waiting()

    async def others(self) -> None:
        """Wait a moment for the calls that began together with the one that ended last, if that was quick."""
        if self._last_took > LONGEST_CALL_SECS:
            return
        self._awaited = self._siblings()
        if not self._awaited:
            return
        loop = asyncio.get_running_loop()
        self._all_came = loop.create_future()
        patience = loop.call_later(LONGEST_WAIT_SECS, self._stop_waiting)
        try:
            await self._all_came
        finally:
            patience.cancel()
            self._awaited = set()

    def _siblings(self) -> set[int]:
        """Those of its app in flight that began after the last one, or just before it; the youngest are at the end."""
        siblings: set[int] = set()
        for ticket, (app_pk, began) in reversed(self._begun.items()):
            if began < self._last_began - TOGETHER_SECS:
                break
            if app_pk == self._last_app:
                siblings.add(ticket)
        return siblings

    def _stop_waiting(self) -> None:
        if self._all_came is not None and not self._all_came.done():
            self._all_came.set_result(None)
