"""Planted bugs in deliveries and schedules."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from orchestrator.domain.imports import BatchStatus
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.worker import Worker
from orchestrator.engine.caller import Request
from orchestrator.engine.deliverer import Deliverer
from orchestrator.service import delivering, scheduling
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.definitions import Definitions
from orchestrator.service.delivering import Taken
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.report import ReadyAnswer, Report
from orchestrator.service.step_record import StepRecord
from orchestrator.store import due_schedules, outbox
from orchestrator.store.clock import to_micros
from orchestrator.store.outbox import OutgoingBatch
from orchestrator.store.transaction import Transaction
from tests.simulation.planted import Patches, bug


@bug
def closed_before_the_answer() -> Patches:
    """A batch is out of the outbox when it is sent, and not when the collector has it."""
    real = delivering.take
    definitions = Definitions(RetryPolicy())

    def take(tx: Transaction, places: int, terms: LeaseTerms) -> Taken:
        taken = real(tx, places, terms)
        held = hold(tx, definitions, {batch.execution_pk for batch in taken.batches})
        for batch in taken.batches:
            one = held[batch.execution_pk]
            delivering.close(tx, one, batch, BatchStatus.DELIVERED, None, to_micros(tx.now()))
        save(tx, held.values(), tx.now())
        return taken

    return [patch.object(delivering, "take", take)]


@bug
def another_body_each_time() -> Patches:
    """A batch that is delivered again does not have the same body."""
    real = Deliverer._request

    def request(self: Deliverer, batch: OutgoingBatch) -> Request:
        made = real(self, batch)
        return replace(made, body=made.body + b" " * (batch.tries - 1))

    return [patch.object(Deliverer, "_request", request)]


@bug
def batches_in_parallel() -> Patches:
    """All batches of a worker are due at once."""
    real = StepRecord._put_batches

    def put_batches(self: StepRecord, held: Held, report: Report, ready: ReadyAnswer, *, is_first: bool) -> None:
        real(self, held, report, ready, is_first=is_first)
        for row in self.batches:
            row["due_at"] = row["created_at"]

    return [patch.object(StepRecord, "_put_batches", put_batches)]


@bug
def delivery_counted_twice() -> Patches:
    """A batch that two nodes have delivered counts as two."""
    real = outbox.close

    def close(tx: Transaction, pk: int, status: str, message: str | None, now: int) -> bool:
        real(tx, pk, status, message, now)
        return True

    return [patch.object(outbox, "close", close)]


@bug
def no_back_pressure() -> Patches:
    """A worker is called however many of its batches wait."""
    return [patch.object(Worker, "is_held", property(lambda self: False))]


@bug
def schedule_not_looked_at_again() -> Patches:
    """A node that read of a due schedule launches it without looking whether another one has."""
    sql = due_schedules._LOCK.replace("AND s.due_at <= :now", "")
    return [patch.object(due_schedules, "_LOCK", sql)]


@bug
def slot_recorded_later() -> Patches:
    """What became of a slot is written by the transaction after the launch."""
    late: list[dict[str, object]] = []
    real_launch, real_record = scheduling.launch_due, due_schedules.record

    def launch_due(tx: Transaction, *given: Any) -> scheduling.Turn:
        real_record(tx, late)
        late.clear()
        return real_launch(tx, *given)

    def record(_tx: Transaction, rows: list[dict[str, object]]) -> None:
        late.extend(rows)

    return [patch.object(scheduling, "launch_due", launch_due), patch.object(due_schedules, "record", record)]


@bug
def slots_missed_in_silence() -> Patches:
    """Slots that were passed over are not recorded."""
    return [patch.object(scheduling, "_missed", lambda _slots: [])]
