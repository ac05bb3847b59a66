"""The right of way of SQLite's writer: the event loop stands still until it has decided, and never for longer."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from orchestrator.store import sole_writer
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.sole_writer import SoleWriter
from orchestrator.store.transaction import Transaction

# The loop would hang where it must not wait, and a test with it.
FOR_EVER = 3600.0
Decided = Callable[[], None]


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoleWriter]:
    monkeypatch.setattr(sole_writer, "GIVE_WAY_SECS", FOR_EVER)
    writer = SoleWriter()
    yield writer
    writer.shutdown()


async def begun(writer: SoleWriter, job: Callable[[Decided], object]) -> asyncio.Task[object]:
    """The job's task, after the loop has gone once round."""
    task = asyncio.create_task(writer.run(job))
    await asyncio.sleep(0)
    return task


async def test_the_loop_goes_on_when_the_writer_has_decided_and_while_it_commits(writer: SoleWriter) -> None:
    told: list[str] = []
    committed = threading.Event()

    def job(decided: Decided) -> str:
        told.append("decided")
        decided()
        committed.wait()
        return "done"

    task = await begun(writer, job)
    assert told == ["decided"]
    assert not task.done()
    committed.set()
    assert await task == "done"
    assert writer.is_idle


async def test_a_slow_decision_is_not_waited_for(writer: SoleWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sole_writer, "GIVE_WAY_SECS", 0.001)
    may_decide = threading.Event()

    task = await begun(writer, lambda _decided: may_decide.wait())
    may_decide.set()
    assert await task is True


async def test_one_that_fails_before_it_decides_lets_the_loop_go_on(writer: SoleWriter) -> None:
    def job(_decided: Decided) -> None:
        raise RuntimeError("it has failed")

    with pytest.raises(RuntimeError, match="it has failed"):
        await writer.run(job)
    assert writer.is_idle


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_writer_that_is_busy_is_not_waited_for(writer: SoleWriter, is_cancelled: bool) -> None:
    committed = threading.Event()

    def job(decided: Decided) -> None:
        decided()
        committed.wait()

    first = await begun(writer, job)
    if is_cancelled:
        first.cancel()
        await asyncio.wait({first})
    assert not writer.is_idle
    second = await begun(writer, lambda decided: decided())
    committed.set()
    await asyncio.wait({first, second})
    assert second.exception() is None


async def test_a_transaction_has_decided_when_only_its_commit_is_left(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sole_writer, "GIVE_WAY_SECS", FOR_EVER)
    database = Database(DatabaseOptions(sqlite_url))
    committing, told = threading.Event(), []
    finish = Transaction.finish
    real: Callable[..., object] = Database._try

    def watched(self: Database, *arguments: object, **named: object) -> object:
        result = real(self, *arguments, **named)
        committing.wait()
        return result

    def finished(tx: Transaction) -> None:
        finish(tx)
        told.append("finished")

    monkeypatch.setattr(Database, "_try", watched)
    monkeypatch.setattr(Transaction, "finish", finished)
    task = asyncio.create_task(database.write(lambda tx: tx.run("CREATE TABLE things (pk bigint)")))
    await asyncio.sleep(0)
    assert told == ["finished"]
    assert not task.done()
    committing.set()
    await task
    await database.close()
