"""Apps: install and update a manifest, activate, stop, delete, rotate the secret, read and change the state."""

from collections.abc import Sequence
from dataclasses import dataclass

from app_sdk.protocol import strict_json
from app_sdk.protocol.answer import Mutation
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.manifest import AppManifest
from app_sdk.protocol.signing import generate_secret
from orchestrator.domain.app_state import encoded, mutated
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.domain.states import AppStatus
from orchestrator.service import tasks
from orchestrator.service.vault import Vault
from orchestrator.store import app_rows
from orchestrator.store import apps as statements
from orchestrator.store.clock import to_micros
from orchestrator.store.tables import App, AppState
from orchestrator.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Installed:
    """The app, and its secret as it is told once."""

    app: App
    secret: str


def install(
    tx: Transaction,
    vault: Vault,
    workspace_id: str,
    manifest: AppManifest,
    secret: str | None,
    *,
    activate: bool = True,
) -> Installed:
    """Install a manifest with its tasks and schedules; a secret is made where none is given. Raises Conflict."""
    if app_rows.find(tx, workspace_id, manifest.id) is not None:
        raise Conflict(f"app {manifest.id} is installed already; update it with PUT /v1/apps/{manifest.id}")
    plain = secret or generate_secret()
    status = AppStatus.ACTIVE if activate else AppStatus.INITIALIZING
    return Installed(make(tx, workspace_id, manifest, vault.seal(plain), status), plain)


def make(
    tx: Transaction, workspace_id: str, manifest: AppManifest, sealed: str, status: AppStatus = AppStatus.ACTIVE
) -> App:
    """As `install`, of one that was looked for: where another has made it since, the transaction is begun again.

    `sealed`: its secret, as the vault keeps it.
    """
    now = to_micros(tx.now())
    app = App(
        workspace_id=workspace_id,
        id=manifest.id,
        name=manifest.name,
        status=status,
        manifest="",
        secret_encrypted=sealed,
        created_at=now,
        updated_at=now,
    )
    _describe(app, manifest)
    tx.put(app)
    tx.put(AppState(app_pk=app.key))
    tasks.register(tx, app, manifest)
    return app


def update(tx: Transaction, workspace_id: str, app_id: str, manifest: AppManifest) -> App:
    """Replace the manifest; running executions keep their versions. Raises NotFound, Invalid, Conflict."""
    if manifest.id != app_id:
        raise Invalid(f"the manifest is for {manifest.id}, not for {app_id}", field="manifest.id")
    app = get(tx, workspace_id, app_id)
    tasks.lock_schedules(tx, app)
    if not statements.keep(tx, app.key):
        raise _not_found(app_id)
    _describe(app, manifest)
    app.updated_at = to_micros(tx.now())
    tx.put(app)
    tasks.register(tx, app, manifest)
    return app


def get(tx: Transaction, workspace_id: str, app_id: str) -> App:
    """Raises NotFound."""
    found = app_rows.find(tx, workspace_id, app_id)
    if found is None:
        raise _not_found(app_id)
    return found


def every(tx: Transaction, workspace_id: str) -> list[App]:
    return app_rows.every(tx, workspace_id)


def set_status(tx: Transaction, workspace_id: str, app_id: str, status: AppStatus, reason: str | None = None) -> App:
    """Activate or stop an app. Stopped, nothing of it is claimed; its workers go on afterwards. Raises NotFound."""
    app = get(tx, workspace_id, app_id)
    app.status, app.status_reason = status.value, reason
    if status is AppStatus.ACTIVE:
        app.unanswered_calls = 0
    app.updated_at = to_micros(tx.now())
    tx.put(app)
    return app


def delete(tx: Transaction, workspace_id: str, app_id: str) -> None:
    """Delete an app; its history stays readable. Raises NotFound; Conflict while executions of it are live."""
    app = get(tx, workspace_id, app_id)
    tasks.lock_schedules(tx, app)
    if not statements.lock_to_delete(tx, app.key):
        raise _not_found(app_id)
    live = app_rows.live_execution(tx, app.key)
    if live is not None:
        raise Conflict(f"app {app_id} has live executions ({live} is one); abort them first", execution_id=live)
    now = to_micros(tx.now())
    tasks.unregister_all(tx, app, now)
    app.deleted_at, app.status = now, AppStatus.STOPPED.value
    tx.put(app)


def rotate_secret(
    tx: Transaction, vault: Vault, workspace_id: str, app_id: str, secret: str | None = None
) -> Installed:
    """Replace the app's secret, from the next call on. Raises NotFound."""
    app = get(tx, workspace_id, app_id)
    plain = secret or generate_secret()
    app.secret_encrypted = vault.seal(plain)
    app.updated_at = to_micros(tx.now())
    tx.put(app)
    return Installed(app, plain)


def state(tx: Transaction, workspace_id: str, app_id: str) -> str:
    """The app's state, as JSON text. Raises NotFound."""
    return app_rows.state_of(tx, get(tx, workspace_id, app_id).key).state


def mutate_state(tx: Transaction, workspace_id: str, app_id: str, mutations: Sequence[Mutation], limits: Limits) -> str:
    """Apply mutations and return the new state. Raises NotFound; StateRefused, and then nothing has changed."""
    app = get(tx, workspace_id, app_id)
    facts = statements.facts([app.key])
    tx.read(statements.lock_states([app.key]), facts)
    current = strict_json.loads(statements.facts_of(facts)[app.key].state.encode())
    assert isinstance(current, dict)
    text = encoded(mutated(current, mutations), limits.app_state_bytes, "the app state")
    statements.set_state(tx, app.key, text)
    return text


def _not_found(app_id: str) -> NotFound:
    return NotFound(f"there is no app {app_id}")


def _describe(app: App, manifest: AppManifest) -> None:
    rate = manifest.rate_limit
    app.name = manifest.name
    app.manifest = manifest.model_dump_json(exclude_unset=True)
    app.webhook_endpoint = manifest.webhook_endpoint
    app.verify_tls = manifest.verify_tls
    app.max_concurrent_calls = manifest.max_concurrent_calls
    app.rate_calls = rate.calls if rate else None
    app.rate_per_secs = rate.per_secs if rate else None
