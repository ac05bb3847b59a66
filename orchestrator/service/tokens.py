"""Bearer tokens: each of one workspace and one role. The token itself is told once; only its hash is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.domain.errors import Conflict, Invalid, NotFound, Unauthenticated
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.service.workspaces import DEFAULT_WORKSPACE
from orchestrator.store import lookups
from orchestrator.store import tokens as statements
from orchestrator.store.clock import maybe_micros, to_micros
from orchestrator.store.tokens import NewToken, TokenView
from orchestrator.store.transaction import Transaction

PREFIX = "orch_"
_SECRET_BYTES = 32
_FIRST_NAME = "first admin"


class Role(StrEnum):
    """What a token may do. APP: its own app's tasks and executions. EXECUTOR: pull work of its tasks."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    APP = "app"
    EXECUTOR = "executor"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller can see: a workspace, or one app of it. An executor sees nothing but pull tasks.

    `tasks`: the ids or aliases of those that an executor may pull.
    """

    workspace_id: str
    app_pk: int | None = None
    tasks: tuple[str, ...] | None = None
    only_pull: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds a valid token. `owner_id`: the user of another system on whose behalf it acts."""

    token_id: str
    name: str
    role: Role
    scope: Scope
    owner_id: int | None = None

    @property
    def workspace_id(self) -> str:
        return self.scope.workspace_id

    @property
    def runs_the_installation(self) -> bool:
        """The admins of the workspace `default` make the other workspaces, and may let people into them."""
        return self.role is Role.ADMIN and self.workspace_id == DEFAULT_WORKSPACE


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """What a new token is to be; `app_id` goes with the role `app`, `tasks` with `executor`, and only with these.

    An executor without `tasks` may pull every task of the workspace.
    """

    workspace_id: str
    name: str
    role: Role
    app_id: str | None = None
    expires_at: datetime | None = None
    tasks: tuple[str, ...] | None = None
    owner_id: int | None = None


def authenticate(tx: Transaction, plain: str) -> Caller:
    """Who holds this token. Raises Unauthenticated if it is unknown, revoked, expired, or its app is gone."""
    found = _valid(tx, statements.by_hash(tx, _hash(plain)))
    role = Role(found.role)
    scope = Scope(found.workspace_id, found.app_pk, found.tasks, only_pull=role is Role.EXECUTOR)
    return Caller(found.id, found.name, role, scope, found.owner_id)


def check_still_valid(tx: Transaction, caller: Caller) -> None:
    """For what lasts: raises Unauthenticated once the caller's token does not count any more."""
    _valid(tx, statements.find(tx, caller.workspace_id, caller.token_id))


def create(tx: Transaction, order: TokenOrder) -> tuple[TokenView, str]:
    """Make a token; returns it with its secret, which nobody can read again. Raises Invalid, NotFound."""
    if (order.role is Role.APP) != (order.app_id is not None):
        raise Invalid("the role app needs an app_id, and no other role takes one", field="app_id")
    if order.tasks is not None and (order.role is not Role.EXECUTOR or not order.tasks):
        raise Invalid("a list of task ids or aliases goes with the role executor, and only with it", field="tasks")
    now = tx.now()
    if order.expires_at is not None and order.expires_at <= now:
        raise Invalid("this time has passed", field="expires_at")
    app_pk = None if order.app_id is None else lookups.app_pk(tx, order.workspace_id, order.app_id)
    if order.app_id is not None and app_pk is None:
        raise NotFound(f"there is no app {order.app_id}")
    plain = new_secret()
    new = NewToken(
        id=_new_id(),
        workspace_id=order.workspace_id,
        name=order.name,
        role=order.role.value,
        hash=_hash(plain),
        app_pk=app_pk,
        created_at=to_micros(now),
        expires_at=maybe_micros(order.expires_at),
        tasks=order.tasks,
        owner_id=order.owner_id,
    )
    statements.insert(tx, new)
    return _get(tx, order.workspace_id, new.id), plain


def new_secret() -> str:
    """A fresh secret for a token."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def has_admin(tx: Transaction) -> bool:
    """Whether the workspace `default` has an admin token that counts."""
    return bool(statements.lock_live_admins(tx, DEFAULT_WORKSPACE, to_micros(tx.now())))


def ensure_admin_token(tx: Transaction, plain: str) -> bool:
    """Let `plain` be an admin token of the workspace `default`. Raises Invalid.

    Returns whether it counts: one that was revoked, or given another role, stays so.
    """
    if not plain.strip():
        raise Invalid("an admin token must not be empty")
    new = NewToken(
        id=_new_id(),
        workspace_id=DEFAULT_WORKSPACE,
        name=_FIRST_NAME,
        role=Role.ADMIN.value,
        hash=_hash(plain),
        app_pk=None,
        created_at=to_micros(tx.now()),
        expires_at=None,
    )
    statements.insert(tx, new)
    found = statements.by_hash(tx, new.hash)
    return found is not None and found.pk in statements.lock_live_admins(tx, DEFAULT_WORKSPACE, new.created_at)


def listed(tx: Transaction, workspace_id: str, page: Page) -> Slice[TokenView]:
    """Every token of the workspace, also those that no longer count. Raises Invalid for a foreign cursor."""
    found = statements.listed(tx, workspace_id, page.number("tokens"), page.limit + 1)
    return cut(found, page, "tokens", lambda token: (token.pk,))


def revoke(tx: Transaction, workspace_id: str, token_id: str) -> None:
    """End a token now; once is enough.

    Raises NotFound; Conflict for its workspace's last admin token, or the last one of them that does not expire: with
    those that are left, all admins would be locked out one day.
    """
    found = _get(tx, workspace_id, token_id)
    now = to_micros(tx.now())
    admins = statements.lock_live_admins(tx, workspace_id, now)
    lasts = admins.pop(found.pk, None)
    if lasts is not None and not admins:
        raise Conflict(f"{token_id} is the last admin token of the workspace; create another one first")
    if lasts and not any(admins.values()):
        raise Conflict(
            f"{token_id} is the last admin token of the workspace that does not expire; create another such one first"
        )
    statements.revoke(tx, found.pk, now)


def _valid(tx: Transaction, found: TokenView | None) -> TokenView:
    if found is None or found.revoked_at is not None:
        raise Unauthenticated("this token is not known, or was revoked")
    if found.expires_at is not None and found.expires_at <= to_micros(tx.now()):
        raise Unauthenticated("this token has expired")
    if found.is_app_deleted:
        raise Unauthenticated("this token's app was deleted")
    return found


def _get(tx: Transaction, workspace_id: str, token_id: str) -> TokenView:
    found = statements.find(tx, workspace_id, token_id)
    if found is None:
        raise NotFound(f"there is no token {token_id}")
    return found


def _new_id() -> str:
    return f"tok_{secrets.token_hex(10)}"


def _hash(plain: str) -> str:
    # The token is 256 random bits: nothing is gained by hashing it slowly.
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
