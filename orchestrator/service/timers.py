"""What time does by itself: leases that ran out, deadlines, waits without a callback, pending starts.

Polling is the truth: each of these is found by a query, whatever wake-up was lost.
"""

from collections.abc import Callable, Collection
from datetime import timedelta

from orchestrator.domain.states import WorkerStatus
from orchestrator.service import pull_timers
from orchestrator.service.callback_effects import time_out
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.store import event_deliveries, groups, outbox, overdue, pulling, records
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.transaction import Transaction

BATCH = 200

Chore = Callable[[Transaction, Definitions, int | None], int]
"""Does what is overdue, up to a batch of it, or that of one execution only; returns how much it was."""


def lose_leases(tx: Transaction, definitions: Definitions, only: int | None = None) -> int:
    """Give up the claims whose lease has run out; returns how many. (PostgreSQL: their node is gone or stuck.)"""
    now = tx.now()
    late = [claim for claim in overdue.leases(tx, to_micros(now), BATCH) if only in (None, claim[0])]
    return lose(tx, definitions, late, "the lease ran out: the node that called is gone or stuck", skip_locked=True)


def void_claims(tx: Transaction, definitions: Definitions) -> int:
    """At the boot of the only server of a database: every claim is an orphan of the one before. Returns how many."""
    now = to_micros(tx.now())
    outbox.void_leases(tx, now)
    event_deliveries.void_leases(tx, now)
    return lose(tx, definitions, overdue.claims(tx, BATCH), "the server stopped during the call")


def lose_claims(tx: Transaction, definitions: Definitions, claims: list[tuple[int, int, int]]) -> int:
    """Give up this node's own claims, as (execution, worker id, token), whose calls went wrong inside the node."""
    return lose(tx, definitions, claims, "the node could not finish the call")


def release_claims(tx: Transaction, definitions: Definitions, claims: list[tuple[int, int, int]]) -> None:
    """Give back claims, as (execution, worker id, token), whose calls were never started."""
    held = hold(tx, definitions, {pk for pk, _, _ in claims})
    now = tx.now()
    for pk, worker_id, token in claims:
        if pk in held and held[pk].execution.holds(worker_id, token):
            held[pk].execution.give_back(worker_id, now)
    save(tx, held.values(), now)


def release_unknown(tx: Transaction, definitions: Definitions, node: str, known: Collection[tuple[int, int]]) -> None:
    """Give back what `node` holds but for the workers it knows of: commits whose outcome never reached it."""
    claims = [claim for claim in overdue.claims_of(tx, node) if claim[:2] not in known]
    release_claims(tx, definitions, claims)


def expire(tx: Transaction, definitions: Definitions, only: int | None = None) -> int:
    """End what is past its time: executions, waits for a callback, claims of executors; returns how many executions."""
    now = tx.now()
    awaiting = [wait for wait in overdue.waits(tx, to_micros(now), BATCH) if only in (None, wait[0])]
    expired = [pk for pk in overdue.deadlines(tx, to_micros(now), BATCH) if only in (None, pk)]
    claims = [claim for claim in pull_timers.run_out_claims(tx, now) if only in (None, claim[0])]
    held = hold(tx, definitions, {pk for pk, _ in awaiting} | {pk for pk, _, _ in claims} | set(expired))
    for pk, worker_id in awaiting:
        worker = held[pk].execution.workers[worker_id]
        if worker.status is WorkerStatus.AWAITING and worker.due_at is not None and worker.due_at <= now:
            time_out(tx, held[pk], worker_id, now)
    pull_timers.end(tx, held, claims, now)
    for pk in expired:
        held[pk].execution.expire(now)
    save(tx, held.values(), now)
    return len(held)


def late_executions(tx: Transaction) -> list[int]:
    """The executions that `lose_leases` and `expire` would find now."""
    at = tx.now()
    now, pulled = to_micros(at), pull_timers.run_out_claims(tx, at)
    claims, waits = overdue.leases(tx, now, BATCH), overdue.waits(tx, now, BATCH)
    return sorted({one[0] for one in (*claims, *waits, *pulled)} | set(overdue.deadlines(tx, now, BATCH)))


def pending_due(tx: Transaction) -> list[int]:
    """Pending executions that may have come to their turn; each is promoted in a transaction of its own."""
    return groups.due_pending(tx, to_micros(tx.now()), BATCH)


def next_timer(tx: Transaction) -> timedelta | None:
    """How long until the next deadline, timeout, end of a pull claim or start time; None if there is none."""
    now = tx.now()
    found = (groups.first_run_at(tx, to_micros(now)), *overdue.first(tx), pulling.first_end(tx))
    instants = [at for at in found if at is not None]
    return max(timedelta(), from_micros(min(instants)) - now) if instants else None


def lose(
    tx: Transaction,
    definitions: Definitions,
    claims: list[tuple[int, int, int]],
    message: str,
    *,
    skip_locked: bool = False,
) -> int:
    """Give up claims, as (execution, worker id, token), as far as they still hold; returns how many did.

    With `skip_locked` those of executions that are held elsewhere are left for the next time: a node that hangs within
    a transaction must not keep others from being rescued until PostgreSQL ends it.
    """
    held = hold(tx, definitions, {pk for pk, _, _ in claims}, skip_locked=skip_locked)
    now = tx.now()
    lost = 0
    for pk, worker_id, token in claims:
        # Read without locks: an answer may have been applied since, and then there is nothing to give up.
        if pk in held and held[pk].execution.holds(worker_id, token):
            _record_lost(tx, held[pk], worker_id, message)
            held[pk].execution.lose_call(worker_id, message, now)
            lost += 1
    save(tx, held.values(), now)
    return lost


def _record_lost(tx: Transaction, held: Held, worker_id: int, message: str) -> None:
    worker = held.execution.workers[worker_id]
    row = {
        "execution_pk": held.pk,
        "worker_id": worker_id,
        "token": worker.token,
        "step": worker.step,
        "attempt": held.execution.attempt,
        "retry_count": worker.retry_count,
        "outcome": "lost",
        "failure": "lost",
        "http_status": None,
        "message": message,
        "notes": None,
        "spawned": None,
        "rests": None,
        "answer": None,
        "digest": None,
        "items": 0,
        "node": worker.lease.node if worker.lease else None,
        "started_at": to_micros(worker.lease.since) if worker.lease else None,
        "ended_at": to_micros(tx.now()),
    }
    records.record_calls(tx, [row])
