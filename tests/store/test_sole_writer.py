"""SQLite's writer: one job after the other, the brief ones decided on the event loop's thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store.sole_writer import SoleWriter, Steps
from orchestrator.store.turns import Turns


@pytest.fixture
async def writer() -> AsyncIterator[SoleWriter]:
    turns = Turns()
    writer = SoleWriter(turns)
    yield writer
    await turns.close()
    writer.shutdown()


class Job:
    """Tells where it decided and where it committed; its commit waits until it may."""

    def __init__(self) -> None:
        self.told: list[tuple[str, threading.Thread]] = []
        self.may_commit = threading.Event()

    def steps(self) -> Steps[str]:
        self.tell("decided")
        yield
        self.may_commit.wait()
        self.tell("committed")
        return "done"

    def tell(self, what: str) -> str:
        self.told.append((what, threading.current_thread()))
        return what

    @property
    def places(self) -> list[tuple[str, bool]]:
        """What it told, and whether that was on the event loop's thread."""
        return [(what, thread is threading.main_thread()) for what, thread in self.told]


def refused(error: Exception) -> Steps[None]:
    """A transaction that does not come as far as its stop."""
    yield from ()
    raise error


def not_otherwise() -> str:
    raise AssertionError("there is nothing to wait for")


async def begun(work: Callable[[], object]) -> None:
    """Wait until work of the event loop's thread has been done."""
    for _ in range(100):
        if work():
            return
        await asyncio.sleep(0)
    raise AssertionError("the event loop has gone round a hundred times in vain")


async def test_the_loop_decides_and_goes_on_while_the_thread_commits(writer: SoleWriter) -> None:
    job = Job()
    task = asyncio.create_task(writer.run_here(job.steps(), not_otherwise))
    await begun(lambda: job.told)
    assert job.places == [("decided", True)]
    assert not task.done()
    job.may_commit.set()
    assert await task == "done"
    assert job.places == [("decided", True), ("committed", False)]


async def test_any_other_job_is_done_on_the_thread(writer: SoleWriter) -> None:
    job = Job()
    await writer.run(lambda: job.tell("done"))
    assert job.places == [("done", False)]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_one_comes_after_the_other_in_the_order_in_which_they_were_asked_for(
    writer: SoleWriter, is_cancelled: bool
) -> None:
    first, second, third = Job(), Job(), Job()
    second.may_commit.set()
    tasks = [
        asyncio.create_task(writer.run_here(first.steps(), not_otherwise)),
        asyncio.create_task(writer.run_here(second.steps(), not_otherwise)),
    ]
    await begun(lambda: first.told)
    tasks.append(asyncio.create_task(writer.run(lambda: third.tell(f"after {len(second.told)}"))))
    await asyncio.sleep(0)
    if is_cancelled:
        # Whoever gives up waiting leaves its job to be done.
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks[:2])
    assert not second.told
    assert not third.told
    first.may_commit.set()
    await tasks[2]
    assert [what for what, _ in first.told] == [what for what, _ in second.told] == ["decided", "committed"]
    assert [what for what, _ in third.told] == ["after 2"]


async def test_one_that_fails_to_decide_is_not_done_otherwise_and_the_next_has_its_turn(writer: SoleWriter) -> None:
    def failing() -> Steps[str]:
        yield from refused(RuntimeError("it has failed"))
        return "done"

    with pytest.raises(RuntimeError, match="it has failed"):
        await writer.run_here(failing(), not_otherwise)
    assert await writer.run(lambda: "the next") == "the next"


async def test_where_the_database_is_unavailable_the_thread_tries_again_and_may_wait(writer: SoleWriter) -> None:
    job = Job()

    def locked() -> Steps[str]:
        job.tell("locked")
        yield from refused(DatabaseUnavailable("somebody else has locked it"))
        return "done at once"

    assert await writer.run_here(locked(), lambda: job.tell("waited")) == "waited"
    assert job.places == [("locked", True), ("waited", False)]


async def test_one_whose_turn_is_cancelled_has_it_until_the_thread_is_done(writer: SoleWriter) -> None:
    first, second = Job(), Job()
    second.may_commit.set()
    asyncio.create_task(writer.run_here(first.steps(), not_otherwise))  # noqa: RUF006 - it is cancelled
    await begun(lambda: first.told)
    turn = writer._turns._last
    assert turn is not None
    turn.cancel()
    next_one = asyncio.create_task(writer.run_here(second.steps(), not_otherwise))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not second.told
    first.may_commit.set()
    await next_one
    assert turn.cancelled()
    assert first.told[-1][0] == "committed"
