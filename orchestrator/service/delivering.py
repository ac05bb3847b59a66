"""Deliver: import batches leave the outbox, and executions end when their last one is taken in.

What was applied is delivered, also when the execution has failed or was aborted meanwhile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.domain.imports import REFUSED_STATUSES, BatchStatus
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.domain.retry import RetryPolicy
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, hold_one, save
from orchestrator.store import outbox
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.outbox import DueBatch, OutgoingBatch
from orchestrator.store.transaction import Transaction

SHOWN_CHARS = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """Batches to send now, and how long until the next one is due (None: none waits)."""

    batches: Sequence[OutgoingBatch]
    wait: timedelta | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the collector answered to a batch; `jitter` in [-1, 1] moves the wait before the next try."""

    batch: OutgoingBatch
    outcome: Response | NoResponse
    jitter: float


def take(tx: Transaction, places: int, terms: LeaseTerms) -> Taken:
    """Take due batches, the first of each worker only; another node takes them over when the lease has passed."""
    now = tx.now()
    batches = outbox.take(tx, places, terms.node, to_micros(now), to_micros(now + terms.length))
    due = outbox.first_due(tx)
    wait = None if due is None else max(timedelta(), from_micros(due) - now)
    return Taken(batches, wait)


def release_unknown(tx: Transaction, node: str, known: Collection[int]) -> None:
    """Give back what `node` has taken but for the batches it knows of: commits whose outcome never reached it."""
    outbox.release_unknown(tx, node, known, to_micros(tx.now()))


def deliver(tx: Transaction, definitions: Definitions, deliveries: Sequence[Delivery], retry: RetryPolicy) -> None:
    """Record what the collector answered; a delivered batch lets the worker's next one go."""
    held = hold(tx, definitions, {delivery.batch.execution_pk for delivery in deliveries})
    now = tx.now()
    for delivery in deliveries:
        batch, outcome = delivery.batch, delivery.outcome
        if batch.execution_pk not in held:
            # Answered a second time, so late that the execution has been purged.
            continue
        if isinstance(outcome, Response) and 200 <= outcome.status < 300:
            close(tx, held[batch.execution_pk], batch, BatchStatus.DELIVERED, None, to_micros(now))
        elif isinstance(outcome, Response) and outcome.status in REFUSED_STATUSES:
            _refuse(tx, held[batch.execution_pk], batch, _words(outcome))
        else:
            asked = outcome.retry_after if isinstance(outcome, Response) else None
            wait = retry.backoff(batch.tries, delivery.jitter) if asked is None else asked
            outbox.postpone(tx, batch.pk, to_micros(now + wait), f"try {batch.tries}: {_words(outcome)}"[:SHOWN_CHARS])
    save(tx, held.values(), now)


def redeliver(tx: Transaction, definitions: Definitions, workspace_id: str, key: str) -> None:
    """Try a refused batch again. Raises NotFound; Conflict if it is not refused."""
    found = _find(tx, workspace_id, key)
    held = hold_one(tx, definitions, found.execution_pk)
    now = tx.now()
    if not outbox.redeliver(tx, found.pk, to_micros(now)):
        raise Conflict(f"import batch {key} is {found.status}; only a refused one can be redelivered")
    held.execution.clear_refusal(found.worker_id)
    save(tx, [held], now)


def discard(tx: Transaction, definitions: Definitions, workspace_id: str, key: str, who: str) -> None:
    """Give up a refused batch: its items are dropped, on the word of `who`. Raises NotFound, Conflict."""
    found = _find(tx, workspace_id, key)
    held = hold_one(tx, definitions, found.execution_pk)
    now = tx.now()
    if found.status != BatchStatus.REFUSED:
        raise Conflict(f"import batch {key} is {found.status}; only a refused one can be discarded")
    said = f"discarded by {who}; the collector had said: {found.message}"
    held.execution.clear_refusal(found.worker_id)
    close(tx, held, found, BatchStatus.DISCARDED, said, to_micros(now))
    save(tx, [held], now)


def close(
    tx: Transaction,
    held: Held,
    batch: OutgoingBatch | DueBatch | outbox.KnownBatch,
    status: BatchStatus,
    message: str | None,
    now: int,
) -> None:
    """Mark the batch as delivered or discarded, and let the worker's next one go."""
    # A delivery that was answered twice (a lease that ran out) counts once.
    if outbox.close(tx, batch.pk, status.value, message, now):
        outbox.release_next(tx, batch.execution_pk, batch.worker_id, now)
        held.execution.deliver(batch.worker_id, from_micros(now))


def _refuse(tx: Transaction, held: Held, batch: OutgoingBatch, words: str) -> None:
    if outbox.refuse(tx, batch.pk, words):
        message = f"the collector refused import batch {batch.key}: {words}"
        held.execution.refuse_batch(batch.worker_id, message, tx.now())


def _find(tx: Transaction, workspace_id: str, key: str) -> outbox.KnownBatch:
    found = outbox.find(tx, workspace_id, key)
    if found is None:
        raise NotFound(f"there is no import batch {key}")
    return found


def _words(outcome: Response | NoResponse) -> str:
    return outcome.message if isinstance(outcome, NoResponse) else str(outcome)
