"""Workers that a commit is not about: read as far as where they stand, and to the end once somebody asks."""

from dataclasses import fields
from typing import Any

import pytest

from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Worker
from orchestrator.service.holding import hold
from orchestrator.store.transaction import Transaction
from tests.engine.by_hand import ByHand
from tests.support.world import World, running_world


def told(worker: Worker) -> dict[str, Any]:
    return {one.name: getattr(worker, one.name) for one in fields(Worker)}


async def unused(request: object) -> dict[str, Any]:
    raise AssertionError("nothing is called: the world is not started")


async def two_executions(world: World) -> tuple[int, int]:
    """Of three workers each: of the first, one is called, one waits to be called again, and one is done."""
    await world.install({"on_multiple_exec": "allow"})
    for _ in range(2):
        await world.launch(workers={1: "{}", 2: "{}"}, wakes=None)
    hand = ByHand(world)
    claims = await hand.claims(3)
    [pk] = {claim.execution_pk for claim in claims}
    by_id = {claim.worker_id: claim for claim in claims}
    await hand.turn([by_id[1]], updated_worker_state={"n": 1}, delay_next_request_in_secs=60)
    await hand.turn([by_id[2]], is_done=True)
    [other] = [claim.execution_pk for claim in await hand.claims(1)]
    return pk, other


async def test_a_bystander_tells_what_the_whole_worker_tells(database_url: str) -> None:
    async with running_world(database_url, unused, start=False) as world:
        pk, other = await two_executions(world)

        def use_case(tx: Transaction) -> None:
            about = {(pk, 0), (other, 2)}
            held = hold(tx, world.node.definitions, {pk, other}, about=about)
            whole = hold(tx, world.node.definitions, {pk, other})
            for key in (pk, other):
                assert list(held[key].execution.workers) == list(whole[key].execution.workers)
                assert held[key].guards == whole[key].guards
                assert held[key].rows.keys() == {worker_id for one, worker_id in about if one == key}
                for worker_id, worker in held[key].execution.workers.items():
                    assert told(worker) == told(whole[key].execution.workers[worker_id])
            statuses = [worker.status for worker in whole[pk].execution.workers.values()]
            assert statuses == [WorkerStatus.CALLING, WorkerStatus.READY, WorkerStatus.DONE]

        await world.database.write(use_case)


async def test_what_a_verb_has_set_stays_when_the_rest_is_read(database_url: str) -> None:
    async with running_world(database_url, unused, start=False) as world:
        pk, _ = await two_executions(world)

        def use_case(tx: Transaction) -> tuple[int | None, int]:
            bystander = hold(tx, world.node.definitions, {pk}, about={(pk, 0)})[pk].execution.workers[1]
            bystander.retry_count = 7
            assert bystander.step == 1
            return bystander.retry_count, bystander.token

        assert await world.database.write(use_case) == (7, 1)


@pytest.mark.parametrize("asks", [False, True])
async def test_the_rest_is_read_only_if_it_is_asked_for(
    database_url: str, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_world(database_url, unused, start=False) as world:
        pk, _ = await two_executions(world)
        reads: list[int] = []
        read = Transaction.read

        def counted(tx: Transaction, *wanted: Any) -> None:
            reads.append(len(wanted))
            read(tx, *wanted)

        def use_case(tx: Transaction) -> None:
            workers = hold(tx, world.node.definitions, {pk}, about={(pk, 0)})[pk].execution.workers
            assert [worker.has_ended for worker in workers.values()] == [False, False, True]
            if asks:
                assert (workers[1].step, workers[2].step) == (1, 1)

        monkeypatch.setattr(Transaction, "read", counted)
        await world.database.write(use_case)
        assert len(reads) == (2 if asks else 1)
