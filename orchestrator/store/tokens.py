"""Statements on bearer tokens. Only hashes are kept."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.store.transaction import Transaction

_INSERT = """
INSERT INTO tokens (id, workspace_id, name, role, hash, app_pk, tasks, owner_id, created_at, expires_at)
VALUES (:id, :workspace_id, :name, :role, :hash, :app_pk, :tasks, :owner_id, :created_at, :expires_at)
ON CONFLICT (hash) DO NOTHING"""
_TOKENS = """
SELECT t.pk, t.id, t.workspace_id, t.name, t.role, t.app_pk, a.id, t.created_at, t.expires_at, t.revoked_at,
       a.deleted_at IS NOT NULL, t.tasks, t.owner_id
  FROM tokens t LEFT JOIN apps a ON a.pk = t.app_pk WHERE """
_OVER = "SELECT id FROM tokens WHERE id IN :ids AND (revoked_at IS NOT NULL OR expires_at <= :now)"
_REVOKE = "UPDATE tokens SET revoked_at = :now WHERE pk = :pk AND revoked_at IS NULL"
_LOCK_ADMINS = """
SELECT pk, expires_at IS NULL FROM tokens
 WHERE workspace_id = :workspace_id AND role = 'admin' AND revoked_at IS NULL
   AND (expires_at IS NULL OR expires_at > :now) ORDER BY pk FOR UPDATE"""


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token without its secret; times in microseconds.

    `app_id` and `app_pk` go with the role `app`, `tasks` (ids and aliases) with `executor`.
    """

    pk: int
    id: str
    workspace_id: str
    name: str
    role: str
    app_pk: int | None
    app_id: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    is_app_deleted: bool
    tasks: tuple[str, ...] | None
    owner_id: int | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be kept; times in microseconds."""

    id: str
    workspace_id: str
    name: str
    role: str
    hash: str
    app_pk: int | None
    created_at: int
    expires_at: int | None
    tasks: tuple[str, ...] | None = None
    owner_id: int | None = None


def insert(tx: Transaction, new: NewToken) -> None:
    """Keep a token; nothing happens if its hash is known already."""
    tx.run(
        _INSERT,
        id=new.id,
        workspace_id=new.workspace_id,
        name=new.name,
        role=new.role,
        hash=new.hash,
        app_pk=new.app_pk,
        created_at=new.created_at,
        expires_at=new.expires_at,
        tasks=None if new.tasks is None else orjson.dumps(new.tasks).decode(),
        owner_id=new.owner_id,
    )


def by_hash(tx: Transaction, hash_: str) -> TokenView | None:
    found = tx.row(_TOKENS + "t.hash = :hash", hash=hash_)
    return None if found is None else _token(found)


def find(tx: Transaction, workspace_id: str, id_: str) -> TokenView | None:
    found = tx.row(_TOKENS + "t.workspace_id = :workspace_id AND t.id = :id", workspace_id=workspace_id, id=id_)
    return None if found is None else _token(found)


def no_longer_valid(tx: Transaction, ids: Collection[str], now: int) -> set[str]:
    """Those of these tokens that were revoked, or have expired."""
    return {id_ for (id_,) in tx.rows(_OVER, ids=sorted(ids), now=now)} if ids else set()


def listed(tx: Transaction, workspace_id: str, before: int | None, limit: int) -> list[TokenView]:
    """A workspace's tokens, newest first, from the one after the key `before`."""
    sql = _TOKENS + "t.workspace_id = :workspace_id" + ("" if before is None else " AND t.pk < :before")
    rows = tx.rows(sql + " ORDER BY t.pk DESC LIMIT :limit", workspace_id=workspace_id, before=before, limit=limit)
    return [_token(row) for row in rows]


def revoke(tx: Transaction, pk: int, now: int) -> None:
    tx.run(_REVOKE, pk=pk, now=now)


def lock_live_admins(tx: Transaction, workspace_id: str, now: int) -> dict[int, bool]:
    """Whether each of the workspace's valid admin tokens lasts, by its key; locked, so that revocations take turns."""
    rows = tx.rows(_LOCK_ADMINS, workspace_id=workspace_id, now=now)
    return {pk: bool(lasts) for pk, lasts in rows}


def _token(row: tuple[Any, ...]) -> TokenView:
    is_app_deleted, tasks, owner_id = row[10:]
    # SQLite has no booleans.
    values = (*row[:10], bool(is_app_deleted), None if tasks is None else tuple(orjson.loads(tasks)), owner_id)
    return TokenView(*values)
