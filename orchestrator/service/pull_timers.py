"""What time does to the claims of executors: one that was not started goes back, one that fell silent has failed.

A pull claim is its executor's: neither the boot, nor the drain, nor the death of a node ends it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.domain.outcome import FailureKind, Unsuccessful
from orchestrator.domain.pulling import PullTerms, is_run_out, run_out
from orchestrator.domain.worker import Lease, Worker
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold, save
from orchestrator.service.step_record import telling
from orchestrator.store import executions, pulling, records
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

BATCH = 200
_BEFORE_ALL = (0, -1)


@dataclass(frozen=True, slots=True)
class _Ending:
    """A claim as it was before it ended."""

    step: int
    token: int
    retry_count: int
    lease: Lease

    @classmethod
    def of(cls, worker: Worker) -> "_Ending":
        assert worker.lease is not None
        return cls(worker.step, worker.token, worker.retry_count, worker.lease)


def run_out_claims(tx: Transaction, now: datetime) -> list[tuple[int, int, int]]:
    """(execution, worker id, token) of claims whose time is up, as seen without locks."""
    return pulling.run_out(tx, to_micros(now), BATCH)


def end(tx: Transaction, held: Mapping[int, Held], claims: Sequence[tuple[int, int, int]], now: datetime) -> None:
    """End those of the claims whose time is up indeed; the caller saves the executions, which it holds."""
    for pk, worker_id, token in claims:
        # Read without locks: its executor may have spoken since.
        if pk not in held or not is_run_out(held[pk].execution, worker_id, token, now):
            continue
        ending = _Ending.of(held[pk].execution.workers[worker_id])
        failure = run_out(held[pk].execution, worker_id, now)
        _record(tx, held[pk], worker_id, ending, failure, now)


def give_back(tx: Transaction, definitions: Definitions, claims: list[tuple[int, int, int]]) -> None:
    """Give back claims, as (execution, worker id, token), that their executors never heard of."""
    held = hold(tx, definitions, {pk for pk, _, _ in claims})
    now = tx.now()
    for pk, worker_id, token in claims:
        one = held.get(pk)
        if one is None or not one.execution.holds(worker_id, token):
            continue
        ending = _Ending.of(one.execution.workers[worker_id])
        if ending.lease.started is None:
            one.execution.give_back(worker_id, now)
            _record(tx, one, worker_id, ending, None, now)
    save(tx, held.values(), now)


def begin_anew(tx: Transaction, definitions: Definitions) -> None:
    """Give every claim its whole time again.

    At the boot of the only server of a database: no executor could reach one meanwhile.
    """
    after, now = _BEFORE_ALL, tx.now()
    while claims := pulling.claims(tx, after, BATCH):
        held = hold(tx, definitions, {pk for pk, _, _ in claims})
        for pk, worker_id, token in claims:
            execution = held[pk].execution
            lease = execution.workers[worker_id].lease
            if lease is not None and execution.holds(worker_id, token):
                execution.change_lease(worker_id, PullTerms.of(held[pk].definition.manifest).anew(lease, now))
        save(tx, held.values(), now)
        after = claims[-1][:2]


def _record(
    tx: Transaction, held: Held, worker_id: int, ending: _Ending, failure: Unsuccessful | None, now: datetime
) -> None:
    row: dict[str, Any] = {
        "execution_pk": held.pk,
        "worker_id": worker_id,
        "token": ending.token,
        "step": ending.step,
        "attempt": held.execution.attempt,
        "retry_count": ending.retry_count,
        "outcome": "returned" if failure is None else "failed",
        "failure": None if failure is None else FailureKind.IN_PROGRESS_TIMEOUT.value,
        "http_status": None,
        "message": "it was handed out, and not started" if failure is None else failure.message,
        "notes": None,
        "spawned": None,
        "rests": None,
        "answer": None,
        "digest": None,
        "items": 0,
        "node": ending.lease.node,
        "started_at": to_micros(ending.lease.since),
        "ended_at": to_micros(now),
    }
    records.record_calls(tx, [row])
    if failure is not None:
        executions.tell(tx, [telling(held.pk, worker_id, message=failure.message)])
