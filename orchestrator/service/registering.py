"""Workers register the Python tasks that they run: the app needs nobody else's hand, and no webhook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app_sdk.protocol import strict_json
from app_sdk.protocol.manifest import AppManifest, read_manifest
from app_sdk.protocol.signing import generate_secret
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH
from orchestrator.domain.errors import Conflict, Forbidden, NotFound
from orchestrator.service import apps
from orchestrator.service.tokens import Caller, Role
from orchestrator.service.vault import Vault
from orchestrator.store import apps as statements
from orchestrator.store import lookups
from orchestrator.store.transaction import Transaction

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Registered:
    """The tasks that were named, by id; `has_changed`: some were added, or brought up to date."""

    app_id: str
    task_ids: Sequence[str]
    has_changed: bool


def check(app_id: str, entries: Sequence[Entry]) -> AppManifest:
    """The tasks as a manifest of their own, sound in itself: without a webhook, so of the transport pull.

    Raises ManifestError.
    """
    return read_manifest({"id": app_id, "name": app_id, "tasks": list(entries)})


def register(
    tx: Transaction, vault: Vault, caller: Caller, checked: AppManifest, entries: Sequence[Entry]
) -> Registered:
    """Add the tasks to the app, or bring them up to date; those that it has besides stay. It is made if there is none.

    Raises Forbidden for an executor whose token is for other tasks, NotFound for the token of another app, Conflict for
    an app that has a webhook.
    """
    _check_names(caller, checked)
    ids = [task.id for task in checked.tasks]
    pk = lookups.app_pk(tx, caller.workspace_id, checked.id)
    if caller.role is Role.APP and pk != caller.scope.app_pk:
        raise NotFound(f"there is no app {checked.id}")
    if pk is None:
        _check_handlers(caller, checked, known={})
        apps.make(tx, caller.workspace_id, checked, vault.seal(generate_secret()))
        return Registered(checked.id, ids, has_changed=True)
    # Whoever registers at the same time waits here, and then finds what was registered.
    tx.read(statements.lock_states([pk]))
    app = apps.get(tx, caller.workspace_id, checked.id)
    present = strict_json.loads(app.manifest.encode(), max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
    assert isinstance(present, dict)
    if app.webhook_endpoint is not None:
        raise Conflict(f"app {app.id} has a webhook: its tasks are those of its manifest")
    _check_handlers(caller, checked, {task.id: task.on_events for task in read_manifest(present).tasks})
    merged = read_manifest({**present, "tasks": _merged(present.get("tasks"), entries)})
    has_changed = merged.model_dump_json(exclude_unset=True) != app.manifest
    if has_changed:
        apps.update(tx, caller.workspace_id, app.id, merged)
    return Registered(app.id, ids, has_changed)


def _merged(present: Any, entries: Sequence[Entry]) -> list[Entry]:
    given = {entry["id"]: entry for entry in entries}
    kept = [given.pop(one["id"], one) for one in present or []]
    return [*kept, *given.values()]


def _check_names(caller: Caller, checked: AppManifest) -> None:
    bound = caller.scope.tasks
    if caller.role is not Role.EXECUTOR:
        return
    if bound is None:
        raise Forbidden("this token names no tasks: make one that does, with token create --role executor --task …")
    named = {*bound, *(f"{checked.id}_{name}" for name in bound)}
    foreign = next((name for task in checked.tasks for name in (task.id, *task.aliases) if name not in named), None)
    if foreign is not None:
        raise Forbidden(f"this token is not for {foreign}; it is for {', '.join(bound)}")


def _check_handlers(caller: Caller, checked: AppManifest, known: Mapping[str, Any]) -> None:
    """Events tell of every app of the workspace: who may hear them is an admin's word, given once."""
    if caller.role is Role.ADMIN:
        return
    new = next((task.id for task in checked.tasks if set(task.on_events) - set(known.get(task.id, ()))), None)
    if new is not None:
        raise Forbidden(f"{new} is launched by events: an admin registers it first, or anew where its patterns change")
