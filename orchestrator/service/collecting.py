"""Collect: what is delivered to the built-in collector is taken in by the transaction that marks it as delivered.

Over HTTP, which it speaks with everybody else, a batch would be signed, sent, parsed and checked in this same process,
and would take three commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson

from orchestrator.domain.imports import BatchStatus
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.worker import Worker
from orchestrator.service import collector, delivering
from orchestrator.service.collector import Batch
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.store import outbox
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.outbox import DueBatch
from orchestrator.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Collected:
    """How many batches are out of the way, and when the next one is due (None: none waits).

    `made_due`: workers that were held back go on. `has_freed`: executions have ended.
    """

    batches: int
    wait: timedelta | None
    made_due: bool = False
    has_freed: bool = False


def collect(tx: Transaction, definitions: Definitions, places: int) -> Collected:
    """Take in due batches, the first of each worker only, up to `places` of them."""
    now = tx.now()
    return _collect(tx, definitions, outbox.due(tx, places, to_micros(now)), skip_locked=True)


def due_batches(tx: Transaction, places: int) -> list[DueBatch]:
    """What `collect` would take in now."""
    return outbox.due(tx, places, to_micros(tx.now()))


def collect_one(tx: Transaction, definitions: Definitions, batch: DueBatch) -> Collected:
    """As `collect`, this batch alone, for whose execution it waits."""
    return _collect(tx, definitions, [batch], skip_locked=False)


def postpone(tx: Transaction, batch: DueBatch, words: str, retry: RetryPolicy) -> None:
    """Try a batch again later that could not be taken in."""
    now, tries = tx.now(), batch.tries + 1
    if outbox.begin_try(tx, batch.pk, to_micros(now)):
        due_at = to_micros(now + retry.backoff(tries, 0.0))
        outbox.postpone(tx, batch.pk, due_at, f"try {tries}: {words}"[: delivering.SHOWN_CHARS])


def _collect(tx: Transaction, definitions: Definitions, found: Sequence[DueBatch], *, skip_locked: bool) -> Collected:
    about = {(batch.execution_pk, batch.worker_id) for batch in found}
    held = hold(tx, definitions, {pk for pk, _ in about}, skip_locked=skip_locked, about=about)
    now = tx.now()
    were_held = {key for key in about if key[0] in held and _worker(held, key).is_held}
    had_ended = {pk for pk, one in held.items() if one.execution.has_ended}
    arrived: list[tuple[Batch, str]] = []
    for batch in found:
        if batch.execution_pk in held and outbox.begin_try(tx, batch.pk, to_micros(now)):
            # They have been read strictly, as part of an answer.
            items = collector.read_items(orjson.loads(batch.items))
            arrived.append((Batch(batch.workspace_id, items), batch.key))
            delivering.close(tx, held[batch.execution_pk], batch, BatchStatus.DELIVERED, None, to_micros(now))
    collector.take_in(tx, arrived)
    made_due = any(not _worker(held, key).is_held for key in were_held)
    has_freed = any(one.execution.has_ended and pk not in had_ended for pk, one in held.items())
    save(tx, held.values(), now)
    first = outbox.first_due(tx)
    wait = None if first is None else max(timedelta(), from_micros(first) - now)
    return Collected(len(arrived), wait, made_due, has_freed)


def _worker(held: dict[int, Held], key: tuple[int, int]) -> Worker:
    return held[key[0]].execution.workers[key[1]]
