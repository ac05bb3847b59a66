"""What can be read about pull tasks, within what the caller can see; and their end by whoever created them."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import ClaimRefused, Conflict, Invalid
from orchestrator.domain.pulling import Reason
from orchestrator.service import ending, pull_tasks
from orchestrator.service.definitions import Definitions
from orchestrator.service.pull_tasks import PullTask
from orchestrator.service.tokens import Caller, Scope
from orchestrator.store import pull_views, pulling, record_views
from orchestrator.store.clock import to_micros
from orchestrator.store.pull_views import Most, PullFilter
from orchestrator.store.record_views import CallView, LogView
from orchestrator.store.transaction import Transaction

MOST_LISTED = 1000
MOST_LISTED_BYTES = 16 * 1024 * 1024
_MOST_LOGGED = 500


@dataclass(frozen=True, slots=True)
class PullQuery:
    """Which pull tasks are wanted; None does not restrict. Definitions are ids or aliases; `text` is in any case."""

    definitions: Sequence[str] | None = None
    but_definitions: Sequence[str] | None = None
    statuses: Sequence[str] | None = None
    outcomes: Sequence[str] | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """What has happened to a pull task: its claims that are over, and the lines of its executors."""

    calls: Sequence[CallView]
    lines: Sequence[LogView]


def listed(
    tx: Transaction, definitions: Definitions, scope: Scope, query: PullQuery, order: tuple[str, bool]
) -> list[PullTask]:
    """The first of them, by `createdAt` or `lastUpdated` (the flag: the latest first), as many as fit into a list."""
    wanted, now = _filter(tx, scope, query), to_micros(tx.now())
    rows = pull_views.listed(tx, scope.workspace_id, wanted, order, now, Most(MOST_LISTED, MOST_LISTED_BYTES))
    known = definitions.read(tx, {row.version_pk for row in rows})
    return [PullTask(row, known[row.version_pk]) for row in rows]


def count(tx: Transaction, scope: Scope, query: PullQuery) -> int:
    return pull_views.count(tx, scope.workspace_id, _filter(tx, scope, query), to_micros(tx.now()))


def logged(tx: Transaction, task: PullTask) -> Logged:
    """The latest of it, newest first, without the answers."""
    pk, worker_id = task.row.execution_pk, task.row.worker_id
    calls = record_views.calls(tx, pk, worker_id, None, _MOST_LOGGED, with_answers=False)
    return Logged(calls, record_views.logs(tx, pk, None, _MOST_LOGGED, worker_id))


def cancel(tx: Transaction, definitions: Definitions, caller: Caller, task_id: str) -> PullTask:
    """End the execution. Raises NotFound, Invalid for the task of another worker than 0, ClaimRefused if it is over."""
    found = pull_tasks.find(tx, caller.scope, task_id)
    task = pull_tasks.show(tx, definitions, found)
    if found.worker_id:
        raise Invalid(f"cancel the whole execution instead: {task.row.execution_id}", field="$.params.id")
    try:
        ending.abort(tx, definitions, caller.workspace_id, task.row.execution_id, f"canceled by {caller.name}")
    except Conflict as error:
        raise ClaimRefused(f"not canceled: {error.message}", reason=Reason.DONE.value) from None
    return pull_tasks.show(tx, definitions, found)


def _filter(tx: Transaction, scope: Scope, query: PullQuery) -> PullFilter:
    bound = pull_tasks.within(tx, scope)
    asked = None if query.definitions is None else _pks(tx, scope, query.definitions)
    if asked is not None and bound is not None:
        asked &= bound
    wanted = bound if asked is None else asked
    return PullFilter(
        app_pk=scope.app_pk,
        task_pks=None if wanted is None else sorted(wanted),
        but_task_pks=None if query.but_definitions is None else sorted(_pks(tx, scope, query.but_definitions)),
        statuses=query.statuses,
        outcomes=query.outcomes,
        text=query.text,
    )


def _pks(tx: Transaction, scope: Scope, names: Sequence[str]) -> frozenset[int]:
    named = pulling.named(tx, scope.workspace_id, set(names))
    return frozenset(pk for pks in named.values() for pk in pks)
