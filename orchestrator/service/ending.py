"""Abort and retry: what a person may do to an execution."""

from orchestrator.domain.errors import Conflict, NotFound
from orchestrator.service.definitions import Definitions
from orchestrator.service.holding import Held, hold_one, save
from orchestrator.service.launching import restart
from orchestrator.store import lookups, outbox
from orchestrator.store.lookups import ExecutionKey
from orchestrator.store.transaction import Transaction


def abort(tx: Transaction, definitions: Definitions, workspace_id: str, execution_id: str, message: str | None) -> Held:
    """End an execution now. After the commit no claim of it commits, and no answer in flight is applied.

    Raises NotFound, or Conflict if it has ended.
    """
    pk = _find(tx, workspace_id, execution_id).pk
    held = hold_one(tx, definitions, pk)
    now = tx.now()
    held.execution.abort(message, now)
    save(tx, [held], now)
    return held


def retry(tx: Transaction, definitions: Definitions, workspace_id: str, execution_id: str) -> Held:
    """Begin a new attempt that resumes the unfinished workers from their last applied state.

    Raises NotFound; Conflict if it has not failed or been aborted, its app is deleted, or a batch is still refused;
    AlreadyRunning where the overlap policy does not allow it now.
    """
    found = _find(tx, workspace_id, execution_id)
    refused = outbox.first_refused(tx, found.pk)
    if refused is not None:
        key, words = refused
        raise Conflict(
            f"the collector refused import batch {key} ({words}); redeliver or discard it, then retry the execution",
            batch=key,
        )
    return restart(tx, definitions, found)


def _find(tx: Transaction, workspace_id: str, execution_id: str) -> ExecutionKey:
    found = lookups.execution_key(tx, workspace_id, execution_id)
    if found is None:
        raise NotFound(f"there is no execution {execution_id}")
    return found
