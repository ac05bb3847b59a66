"""What can be read about import batches."""

from collections.abc import Sequence

from orchestrator.domain.errors import NotFound
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.store import batch_views, lookups
from orchestrator.store.batch_views import BatchView, Filter
from orchestrator.store.transaction import Transaction


def find(tx: Transaction, workspace_id: str, key: str) -> BatchView:
    """Raises NotFound."""
    found = batch_views.find(tx, workspace_id, key)
    if found is None:
        raise NotFound(f"there is no import batch {key}")
    return found


def listed(
    tx: Transaction, workspace_id: str, statuses: Sequence[str] | None, execution_id: str | None, page: Page
) -> Slice[BatchView]:
    """Batches, newest first. Raises NotFound for an unknown execution; Invalid for a foreign cursor."""
    execution = None if execution_id is None else lookups.execution_key(tx, workspace_id, execution_id)
    if execution_id is not None and execution is None:
        raise NotFound(f"there is no execution {execution_id}")
    wanted = Filter(None if statuses is None else tuple(statuses), None if execution is None else execution.pk)
    found = batch_views.listed(tx, workspace_id, wanted, page.number("import_batches"), page.limit + 1)
    return cut(found, page, "import_batches", lambda batch: (batch.pk,))
