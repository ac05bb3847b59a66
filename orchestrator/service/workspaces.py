"""Workspaces: the tenants. The first start makes `default`."""

from app_sdk.protocol.signing import generate_secret
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.service.vault import Vault
from orchestrator.store import workspace_rows
from orchestrator.store.clock import to_micros
from orchestrator.store.tables import Workspace
from orchestrator.store.transaction import Transaction

DEFAULT_WORKSPACE = "default"


def ensure_default(tx: Transaction, vault: Vault) -> None:
    """Make the workspace `default` unless it exists."""
    # Looked for once: nodes that start for the first time at the same instant meet in the primary key, and try again.
    if workspace_rows.find(tx, DEFAULT_WORKSPACE) is None:
        _put(tx, vault, DEFAULT_WORKSPACE, "Default")


def create(tx: Transaction, vault: Vault, workspace_id: str, name: str) -> Workspace:
    """Raises Invalid or Conflict."""
    if not workspace_id.replace("_", "").replace("-", "").isalnum() or len(workspace_id) > 64:
        raise Invalid("a workspace's id has 1 to 64 letters, digits, - or _", field="id")
    if workspace_rows.find(tx, workspace_id) is not None:
        raise Conflict(f"there is a workspace {workspace_id} already")
    return _put(tx, vault, workspace_id, name)


def _put(tx: Transaction, vault: Vault, workspace_id: str, name: str) -> Workspace:
    sealed = vault.seal(generate_secret())
    workspace = Workspace(id=workspace_id, name=name, secret_encrypted=sealed, created_at=to_micros(tx.now()))
    tx.put(workspace)
    return workspace


def every(tx: Transaction) -> list[Workspace]:
    return workspace_rows.every(tx)


def ids(tx: Transaction) -> list[str]:
    """The id of every workspace, in order."""
    return [workspace.id for workspace in every(tx)]


def secret(tx: Transaction, vault: Vault, workspace_id: str) -> str:
    """The secret that import batches are signed with. Raises NotFound."""
    return vault.open(get(tx, workspace_id).secret_encrypted)


def rotate_secret(tx: Transaction, vault: Vault, workspace_id: str) -> str:
    """Replace the secret and return the new one. Raises NotFound."""
    workspace = get(tx, workspace_id)
    fresh = generate_secret()
    workspace.secret_encrypted = vault.seal(fresh)
    tx.put(workspace)
    return fresh


def get(tx: Transaction, workspace_id: str) -> Workspace:
    """Raises NotFound."""
    found = workspace_rows.find(tx, workspace_id)
    if found is None:
        raise NotFound(f"there is no workspace {workspace_id}")
    return found
