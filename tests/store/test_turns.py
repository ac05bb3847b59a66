"""Turns: what is asked for after a close, and what is left of turns that have failed."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store.turns import Turns


async def work(told: list[str]) -> None:
    await asyncio.sleep(0)
    told.append("done")


async def test_a_close_waits_for_what_was_asked_for_and_refuses_the_rest() -> None:
    turns, told = Turns(), list[str]()
    tasks = [asyncio.create_task(turns.take(lambda: work(told))) for _ in range(3)]
    await asyncio.sleep(0)
    await turns.close()
    assert told == ["done"] * 3
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await turns.take(lambda: work(told))
    await asyncio.gather(*tasks)
    assert told == ["done"] * 3


async def test_turns_that_fail_one_after_the_other_do_not_keep_each_other_alive() -> None:
    turns = Turns()
    failed: list[weakref.ref[asyncio.Task[Any]]] = []

    async def fail() -> None:
        # Without a name for it: the error's traceback would hold it in a cycle.
        failed.append(weakref.ref(asyncio.current_task()))  # type: ignore[arg-type]
        raise DatabaseUnavailable("the database is away")

    gc.disable()
    try:
        for _ in range(20):
            with pytest.raises(DatabaseUnavailable):
                await turns.take(fail)
        # The last one is kept for whoever comes next.
        assert sum(turn() is not None for turn in failed) <= 2
    finally:
        gc.enable()
