"""What a commit of answers writes beside the executions themselves: records, states, import batches, log lines.

Gathered while the answers are decided on one by one, and written in a few set-wise statements at the end.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app_sdk.protocol import strict_json
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.beginning import as_object
from orchestrator.domain.classify import Unanswered
from orchestrator.domain.execution import Execution
from orchestrator.domain.imports import batch_key
from orchestrator.domain.states import WorkerStatus
from orchestrator.service.holding import Held
from orchestrator.service.report import ReadyAnswer, Report
from orchestrator.store import executions, outbox, records
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

Row = dict[str, Any]


_NO_EFFECTS: Row = {"spawned": None, "rests": None}


def effects_of(execution: Execution, worker_id: int, spawned: Collection[int]) -> Row:
    """What an applied answer did to the workers: which it (re)started at which token, and where it left its own."""
    rests = execution.workers[worker_id].resting_place
    if not spawned and rests is WorkerStatus.READY:
        return _NO_EFFECTS
    tokens = {str(id_): execution.workers[id_].token for id_ in sorted(spawned)}
    return {
        "spawned": strict_json.dumps(tokens).decode() if tokens else None,
        "rests": None if rests is WorkerStatus.READY else rests.value,
    }


@dataclass(slots=True)
class StepRecord:
    """The rows of one commit. `shown_chars`: how much of a message people are shown; its call's record keeps it all."""

    node: str
    now: datetime
    shown_chars: int
    batches: list[Row] = field(default_factory=list)
    _calls: dict[tuple[int, int, int], Row] = field(default_factory=dict)
    _told: list[Row] = field(default_factory=list)
    _spawned: list[Row] = field(default_factory=list)
    _lines: list[Row] = field(default_factory=list)
    _subtexts: dict[int, str] = field(default_factory=dict)
    _outputs: list[tuple[int, int, dict[str, JsonValue]]] = field(default_factory=list)

    def applied(self, held: Held, report: Report, ready: ReadyAnswer, spawned: Collection[int], was_held: int) -> None:
        """What a closed step leaves behind. `was_held`: how many batches of the worker were undelivered before it."""
        self._put_batches(held, report, ready, is_first=was_held == 0)
        self._spawned += [
            {"execution_pk": held.pk, "worker_id": worker_id, "state": ready.spawned[worker_id]}
            for worker_id in spawned
        ]
        self._tell(held, report, ready)

    def failed(self, held: Held, report: Report, message: str) -> None:
        """What a call that closed no step leaves behind."""
        self._told.append(telling(held.pk, report.claim.worker_id, message=message[: self.shown_chars]))

    def call(
        self,
        report: Report,
        outcome: str,
        message: str | None,
        notes: Collection[str],
        effects: Row = _NO_EFFECTS,
    ) -> None:
        """The record of the call itself, whatever became of it; `effects` are those of an applied answer."""
        claim, meaning = report.claim, report.meaning
        ready = meaning if isinstance(meaning, ReadyAnswer) else None
        # Should the same claim be reported twice in one commit, what was first is what happened.
        self._calls.setdefault(
            (claim.execution_pk, claim.worker_id, claim.token),
            {
                "execution_pk": claim.execution_pk,
                "worker_id": claim.worker_id,
                "token": claim.token,
                "step": claim.step,
                "attempt": claim.attempt,
                "retry_count": claim.retry_count,
                "outcome": outcome,
                "failure": meaning.kind.value if isinstance(meaning, Unanswered) else None,
                "http_status": report.http_status,
                "message": message,
                "notes": "\n".join(notes) if notes else None,
                **effects,
                "answer": ready.record if ready else report.said,
                "digest": report.digest,
                "items": len(ready.answer.items_to_import) if ready else 0,
                "node": self.node,
                "started_at": to_micros(claim.claimed_at),
                "ended_at": to_micros(claim.claimed_at + report.took),
            },
        )

    def write(self, tx: Transaction) -> None:
        """Write everything. A worker that ended and was spawned anew in one commit begins with its new state."""
        executions.tell_soon(tx, self._told)
        executions.put_states(tx, self._spawned)
        for pk, subtext in self._subtexts.items():
            executions.set_subtext(tx, pk, subtext)
        for pk, worker_id, output in self._outputs:
            merge_output(tx, pk, worker_id, output)
        outbox.put(tx, self.batches)
        records.record_calls_soon(tx, list(self._calls.values()))
        records.log(tx, self._lines)

    def _put_batches(self, held: Held, report: Report, ready: ReadyAnswer, *, is_first: bool) -> None:
        claim = report.claim
        for part, (items, count) in enumerate(ready.batches):
            self.batches.append(
                {
                    "workspace_id": held.workspace_id,
                    "execution_pk": held.pk,
                    "worker_id": claim.worker_id,
                    "step": claim.step,
                    "part": part,
                    "key": batch_key(held.uid, claim.worker_id, claim.step, part),
                    "items": items,
                    "item_count": count,
                    "due_at": to_micros(self.now) if is_first and part == 0 else None,
                    "created_at": to_micros(self.now),
                }
            )

    def _tell(self, held: Held, report: Report, ready: ReadyAnswer) -> None:
        claim, answer = report.claim, ready.answer
        message = answer.message and answer.message[: self.shown_chars]
        if message is None and claim.retry_count:
            # What the calls before have failed with is over.
            message = ""
        subtext = answer.subtext
        if not (ready.state is None and message is None and ready.progress is None and subtext is None):
            told = {"state": ready.state, "message": message, "progress": ready.progress, "subtext": subtext}
            self._told.append({"execution_pk": held.pk, "worker_id": claim.worker_id, **told})
        if subtext is not None:
            self._subtexts[held.pk] = subtext
        if answer.output is not None:
            self._outputs.append((held.pk, claim.worker_id, answer.output))
        self._lines += [
            {
                "execution_pk": held.pk,
                "worker_id": claim.worker_id,
                "step": claim.step,
                "line": line,
                "logged_at": to_micros(self.now),
            }
            for line in answer.logs
        ]


def telling(
    pk: int,
    worker_id: int,
    *,
    state: str | None = None,
    message: str | None = None,
    progress: str | None = None,
    subtext: str | None = None,
) -> Row:
    """A row for `executions.tell`."""
    return {
        "execution_pk": pk,
        "worker_id": worker_id,
        "state": state,
        "message": message,
        "progress": progress,
        "subtext": subtext,
    }


def merge_output(tx: Transaction, pk: int, worker_id: int, output: dict[str, JsonValue]) -> None:
    """Merge an output into the worker's and the execution's; its keys win."""
    whole, own = (
        strict_json.dumps({**as_object(text), **output}).decode() for text in executions.outputs(tx, pk, worker_id)
    )
    executions.set_outputs(tx, pk, worker_id, whole=whole, own=own)
