"""What a worker knows of itself, and how workers are spawned."""

from datetime import timedelta

import pytest

from app_sdk.protocol.answer import NewWorker
from orchestrator.domain.errors import IllegalMove
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import Lease, Worker, spawn
from tests.unit.domain.builders import NOW

SECOND = timedelta(seconds=1)
LEASE = Lease("node", NOW, NOW + SECOND)


@pytest.mark.parametrize(("undelivered", "held"), [(0, False), (4, False), (5, True), (40, True)])
def test_a_worker_is_held_while_more_than_four_batches_are_undelivered(undelivered: int, held: bool) -> None:
    worker = Worker(0, due_at=NOW, undelivered=undelivered)
    assert worker.is_held is held
    assert worker.is_due(NOW) is not held


def test_a_worker_is_due_from_its_time_on() -> None:
    worker = Worker(0, due_at=NOW)
    assert [worker.is_due(NOW + late) for late in (-SECOND, timedelta(), SECOND)] == [False, True, True]
    assert not Worker(0, due_at=None).is_due(NOW)


@pytest.mark.parametrize("status", [status for status in WorkerStatus if status is not WorkerStatus.READY])
def test_only_a_ready_worker_is_due(status: WorkerStatus) -> None:
    assert not Worker(0, status, due_at=NOW).is_due(NOW)


def test_a_claim_is_known_by_its_token() -> None:
    worker = Worker(0, WorkerStatus.CALLING, token=3, lease=LEASE)
    assert [worker.is_claimed_with(token) for token in (2, 3, 4)] == [False, True, False]
    worker.move(WorkerStatus.READY)
    assert not worker.is_claimed_with(3)


def test_a_move_ends_the_lease_and_sets_the_time() -> None:
    worker = Worker(0, WorkerStatus.CALLING, lease=LEASE)
    worker.move(WorkerStatus.AWAITING, NOW)
    assert (worker.status, worker.due_at, worker.lease) == (WorkerStatus.AWAITING, NOW, None)
    worker.move(WorkerStatus.DONE)
    assert (worker.status, worker.due_at) == (WorkerStatus.DONE, None)


def test_a_move_outside_the_table_changes_nothing() -> None:
    worker = Worker(0, due_at=NOW)
    with pytest.raises(IllegalMove):
        worker.move(WorkerStatus.DONE)
    assert worker == Worker(0, due_at=NOW)


def test_spawning_starts_new_workers_and_those_that_are_done() -> None:
    done = Worker(2, WorkerStatus.DONE, step=7, token=9, idle_steps=1, finished=True, undelivered=3)
    workers = {0: Worker(0, WorkerStatus.CALLING), 2: done}
    assert spawn(workers, [NewWorker(2, {}), NewWorker(5, {})], NOW) == (frozenset({2, 5}), [])
    assert workers[5] == Worker(5, due_at=NOW)
    # Steps and tokens count on, and what is undelivered stays so.
    assert workers[2] == Worker(2, step=7, token=9, due_at=NOW, undelivered=3)


@pytest.mark.parametrize("status", [status for status in WorkerStatus if status is not WorkerStatus.DONE])
def test_a_worker_that_is_not_done_is_left_alone_and_that_is_noted(status: WorkerStatus) -> None:
    workers = {1: Worker(1, status, step=2)}
    assert spawn(workers, [NewWorker(1, {})], NOW) == (frozenset(), [f"worker 1 was left alone: it is {status}"])
    assert workers == {1: Worker(1, status, step=2)}


def test_of_a_worker_that_is_named_twice_the_first_counts() -> None:
    asked = [NewWorker(1, {"n": 1}), NewWorker(1, {"n": 2})]
    assert spawn({}, asked, NOW) == (frozenset({1}), ["worker 1 was left alone: it is ready"])


@pytest.mark.parametrize(
    ("status", "finished", "resumed"),
    [
        (WorkerStatus.FAILED, False, WorkerStatus.READY),
        (WorkerStatus.ABORTED, False, WorkerStatus.READY),
        (WorkerStatus.FAILED, True, WorkerStatus.DONE),
    ],
)
def test_a_worker_resumes_where_its_last_applied_step_left_it(
    status: WorkerStatus, finished: bool, resumed: WorkerStatus
) -> None:
    worker = Worker(0, status, step=4, token=6, retry_count=3, idle_steps=2, finished=finished)
    worker.resume()
    assert worker == Worker(0, resumed, step=4, token=6, finished=finished)
