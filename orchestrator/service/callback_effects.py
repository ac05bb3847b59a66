"""What a callback does where it is applied: to a parked worker at once, or in the commit of the answer that parks it.

The execution's life cycle is decided first, on what is held; what is written beside it comes after what the answer
itself writes, so that the callback's output and subtext win.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from app_sdk.protocol import strict_json
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.beginning import Seed, as_object
from orchestrator.domain.callback import Fate
from orchestrator.domain.consequence import Fail, of_callback
from orchestrator.domain.execution import MESSAGE_CHARS, NO_CALLBACK
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import BEFORE_FIRST_STEP
from orchestrator.service import idempotency
from orchestrator.service.holding import Held
from orchestrator.service.step_record import merge_output, telling
from orchestrator.store import callbacks, executions, records
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

SUCCESS = "SUCCESS"

APPLIED_EARLY = "a callback had come before this answer, and was applied with it"
UNUSED_EARLY = "a callback had come before this answer, which does not await one: it was not used"


@dataclass(frozen=True, slots=True)
class Callback:
    """What a third party says. A `logs` that is a text is one line, whatever it holds."""

    succeeded: bool
    output: dict[str, JsonValue] | None = None
    logs: str | list[str] | None = None
    subtext: str | None = None

    @property
    def lines(self) -> list[str]:
        if self.logs is None:
            return []
        return [self.logs] if isinstance(self.logs, str) else self.logs

    @property
    def digest(self) -> str:
        """The same for callbacks that say the same."""
        return idempotency.body_hash(self._told())

    def as_text(self) -> str:
        """As apps are told of it, and as it is kept. Raises JsonError for what JSON does not have."""
        return strict_json.dumps({name: told for name, told in self._told().items() if told is not None}).decode()

    @classmethod
    def of_text(cls, text: str) -> Self:
        """What `as_text` has written."""
        told: dict[str, Any] = as_object(text)
        return cls(told["status"] == SUCCESS, told.get("output"), told.get("logs"), told.get("subtext"))

    def _told(self) -> dict[str, JsonValue]:
        return {
            "status": SUCCESS if self.succeeded else "FAILURE",
            "output": self.output,
            "logs": list(self.logs) if isinstance(self.logs, list) else self.logs,
            "subtext": self.subtext,
        }


@dataclass(frozen=True, slots=True)
class Taken:
    """A callback that was applied to what is held.

    `received_at`: microseconds. `failure`: why its worker has failed, if it has.
    """

    pk: int
    worker_id: int
    step: int
    callback: Callback
    received_at: int
    failure: str | None

    def write(self, tx: Transaction) -> None:
        """Write its output, log lines and subtext, and the failure."""
        callback = self.callback
        if callback.output is not None:
            merge_output(tx, self.pk, self.worker_id, callback.output)
        records.log(tx, [self._line(line) for line in callback.lines])
        executions.tell(tx, [telling(self.pk, self.worker_id, message=self.failure, subtext=callback.subtext)])
        if callback.subtext is not None:
            executions.set_subtext(tx, self.pk, callback.subtext)

    def _line(self, line: str) -> dict[str, Any]:
        return {
            "execution_pk": self.pk,
            "worker_id": self.worker_id,
            "step": self.step,
            "line": line,
            "logged_at": self.received_at,
        }


def take(held: Held, worker_id: int, callback: Callback, received_at: int, now: datetime) -> Taken:
    """End the open await of a worker with this callback; what it says is still to be written."""
    worker = held.execution.workers[worker_id]
    assert worker.awaited is not None
    meaning = of_callback(succeeded=callback.succeeded, resume=worker.resumes, now=now, reason=callback.subtext)
    held.execution.take_callback(worker_id, meaning, now)
    failure = meaning.message[:MESSAGE_CHARS] if isinstance(meaning, Fail) else None
    return Taken(held.pk, worker_id, worker.awaited, callback, received_at, failure)


def time_out(tx: Transaction, held: Held, worker_id: int, now: datetime) -> None:
    """Fail a worker whose await has had no callback in time, and record that it had none."""
    step = held.execution.workers[worker_id].awaited
    held.execution.time_out_await(worker_id, now)
    executions.tell(tx, [telling(held.pk, worker_id, message=NO_CALLBACK)])
    assert step is not None
    record(tx, (held.pk, worker_id, step), Fate.TIMED_OUT, None, now)


def hand_down(tx: Transaction, pk: int, seeds: Mapping[int, Seed], now: datetime) -> None:
    """Let the workers of a new execution be told what they were called back with in the one that it goes on from."""
    for worker_id, seed in seeds.items():
        if seed.callback is not None:
            record(tx, (pk, worker_id, BEFORE_FIRST_STEP), Fate.APPLIED, Callback.of_text(seed.callback), now)


def record(tx: Transaction, await_: tuple[int, int, int], fate: Fate, callback: Callback | None, now: datetime) -> None:
    """Record what became of an await: (execution, worker id, step)."""
    pk, worker_id, step = await_
    at = to_micros(now)
    row = {
        "execution_pk": pk,
        "worker_id": worker_id,
        "step": step,
        "fate": fate.value,
        "digest": None if callback is None else callback.digest,
        "body": None if callback is None else callback.as_text(),
        "received_at": at,
        "settled_at": None if fate is Fate.KEPT else at,
    }
    callbacks.insert(tx, [row])


@dataclass(slots=True)
class EarlyCallbacks:
    """The kept callbacks of the steps that one commit closes. It asks the database nothing where there is none."""

    now: datetime
    _taken: list[Taken] = field(default_factory=list)
    _settled: list[dict[str, Any]] = field(default_factory=list)

    def close(self, tx: Transaction, held: Held, worker_id: int, step: int) -> str:
        """Apply the callback that was kept for this step if its answer has parked the worker; returns a note on it."""
        kept = callbacks.find(tx, held.pk, worker_id, step)
        assert kept is not None
        assert kept.body is not None
        is_parked = held.execution.workers[worker_id].status is WorkerStatus.AWAITING
        if is_parked:
            callback = Callback.of_text(kept.body)
            self._taken.append(take(held, worker_id, callback, kept.received_at, self.now))
        fate = Fate.APPLIED if is_parked else Fate.UNUSED
        self._settled.append(
            {
                "execution_pk": held.pk,
                "worker_id": worker_id,
                "step": step,
                "fate": fate.value,
                "settled_at": to_micros(self.now),
            }
        )
        return APPLIED_EARLY if is_parked else UNUSED_EARLY

    def write(self, tx: Transaction) -> None:
        """Write what they say and what became of them; after the answers, so that they win."""
        for taken in self._taken:
            taken.write(tx)
        callbacks.settle(tx, self._settled)
