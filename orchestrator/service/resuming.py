"""Resume from an earlier call: a new execution that begins as another one stood when that call was made.

Nothing is undone: what the later calls of the other one have imported and changed in the app's state stays, and
whoever asks is told how much that is.
"""

import re
from dataclasses import dataclass, replace

from app_sdk.protocol import strict_json
from orchestrator.domain.beginning import Beginning, Seed, as_object
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.domain.rewind import AppliedCall, AppliedCallback, Past, RecordsMissing
from orchestrator.domain.states import WorkerStatus
from orchestrator.service import execution_queries, orders
from orchestrator.service.launching import LaunchOrder
from orchestrator.service.orders import CheckedLaunch, LaunchRequest
from orchestrator.service.tokens import Caller, Scope
from orchestrator.store import callbacks, past_calls
from orchestrator.store.execution_views import ExecutionView
from orchestrator.store.past_calls import PastCall
from orchestrator.store.transaction import Transaction

_CALL_ID = re.compile(r"([0-9])\.([1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LookBack:
    """An execution as it stood when one of its calls was made; `told` is what is said about that, as JSON."""

    execution: ExecutionView
    beginning: Beginning
    told: str


@dataclass(frozen=True, slots=True)
class _Moment:
    """When the call was made: what the other workers had been answered by then had ended by then."""

    worker_id: int
    token: int
    at: int

    def is_after(self, call: PastCall) -> bool:
        return call.token < self.token if call.worker_id == self.worker_id else call.ended_at <= self.at

    def is_after_callback(self, call: PastCall, at: int) -> bool:
        """Of the worker itself, nothing was called between the await and its callback."""
        return call.worker_id == self.worker_id or at <= self.at


@dataclass(slots=True)
class _Since:
    """What answers that were applied later have done, and is not undone."""

    calls: int = 0
    items: int = 0
    mutations: int = 0

    def add(self, call: PastCall) -> None:
        mutations = as_object(call.answer).get("app_state_mutations")
        self.calls += 1
        self.items += call.items
        self.mutations += len(mutations) if isinstance(mutations, list) else 0


def call_id(worker_id: int, token: int) -> str:
    """What a call is named by, within its execution."""
    return f"{worker_id}.{token}"


def look_back(tx: Transaction, scope: Scope, execution_id: str, call: str) -> LookBack:
    """See how the execution stood when the call was made, in a transaction of its own.

    Raises NotFound; Invalid for what is no call's id; Conflict where the records do not reach back far enough.
    """
    named = _CALL_ID.fullmatch(call)
    if named is None:
        raise Invalid("write the id of a call as its list shows it, such as 0.12", field="$.call")
    tx.freeze()
    found = execution_queries.find(tx, scope, execution_id)
    worker_id, token = int(named[1]), int(named[2])
    made = past_calls.call(tx, found.pk, worker_id, token)
    if made is None:
        raise NotFound(f"execution {execution_id} has no finished call {call}", field="$.call")
    step, at = made
    try:
        past, since = _gather(tx, found, _Moment(worker_id, token, at))
        beginning = past.beginning()
    except RecordsMissing as error:
        raise Conflict(f"not resumed: {error}") from None
    told = {
        "execution_id": found.id,
        "call": call,
        "worker_id": worker_id,
        "step": step,
        "since": {"calls": since.calls, "items": since.items, "mutations": since.mutations},
    }
    return LookBack(found, beginning, strict_json.dumps(told).decode())


def order(tx: Transaction, caller: Caller, past: LookBack, id_: str | None, name: str | None) -> LaunchOrder:
    """The launch that goes on from there, with the task as it is defined now. Raises NotFound, Conflict."""
    request = LaunchRequest(
        task=past.execution.task_id,
        id=id_,
        name=name,
        multiple_exec_key=past.execution.multiple_exec_key,
        application=past.execution.application,
    )
    plain = orders.order(tx, caller, CheckedLaunch(request, past.execution.input, {}))
    return replace(plain, beginning=past.beginning, resumed_from=past.told)


def _gather(tx: Transaction, execution: ExecutionView, moment: _Moment) -> tuple[Past, _Since]:
    kept = past_calls.beginning(tx, execution.pk)
    past = Past(Beginning({0: Seed(execution.input)}) if kept is None else Beginning.of_text(kept))
    since = _Since()
    called_back = {
        await_: AppliedCallback(text, at) for await_, (text, at) in callbacks.applied(tx, execution.pk).items()
    }
    for call in past_calls.applied(tx, execution.pk):
        if moment.is_after(call):
            callback = called_back.get((call.worker_id, call.step))
            is_past = callback is not None and moment.is_after_callback(call, callback.at)
            past.add(_applied(call, callback if is_past else None))
        else:
            since.add(call)
    return past, since


def _applied(call: PastCall, callback: AppliedCallback | None) -> AppliedCall:
    return AppliedCall(
        worker_id=call.worker_id,
        token=call.token,
        step=call.step,
        ended_at=call.ended_at,
        answer=as_object(call.answer),
        spawned={int(worker_id): int(str(token)) for worker_id, token in as_object(call.spawned).items()},
        rests=WorkerStatus.READY if call.rests is None else WorkerStatus(call.rests),
        callback=callback,
    )
