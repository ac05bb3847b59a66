"""The built-in collector: takes in signed import batches, each once, and lets people list the items."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app_sdk.protocol import strict_json
from app_sdk.protocol.signing import RMD_HEADER, SignatureError, verify
from orchestrator.domain.errors import Invalid
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.store import collected
from orchestrator.store.clock import to_micros
from orchestrator.store.collected import CollectedView
from orchestrator.store.transaction import Transaction

# The engine sends at most 250.
MOST_ITEMS = 10_000
_WORKSPACE_NAME = b'"workspace_id"'
# No id has a character that JSON must escape.
_WORKSPACE = re.compile(rb'"workspace_id"\s*:\s*"([^"\\\x00-\x1f]{1,200})"')


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it was sent: items as (kind, JSON text), in their order."""

    workspace_id: str
    items: Sequence[tuple[str, str]]


def named_workspaces(body: bytes) -> list[str]:
    """The ids that may be the batch's `workspace_id`, found without reading it: the first and the last of that name.

    An item may have a field of this name too; but before the items, or after them, comes the batch's own.
    """
    at = [body.find(_WORKSPACE_NAME), body.rfind(_WORKSPACE_NAME)]
    found = [match for match in (_WORKSPACE.match(body, start) for start in at if start >= 0) if match]
    return list(dict.fromkeys(match[1].decode(errors="replace") for match in found))


def is_signed(secret: str, signature: str, body: bytes) -> bool:
    """Whether the signature is that of the raw body with the workspace's secret."""
    try:
        verify(secret, {RMD_HEADER: signature}, body, now=0)
    except SignatureError:
        return False
    return True


def read_batch(body: bytes) -> Batch:
    """Read a batch. Raises JsonError for what is not strict JSON, Invalid for what is not a batch."""
    document = strict_json.loads(body)
    if not isinstance(document, dict):
        raise Invalid("write a JSON object with workspace_id and items", field="$")
    workspace_id, items = document.get("workspace_id"), document.get("items")
    if not isinstance(workspace_id, str):
        raise Invalid("write the id of the workspace", field="$.workspace_id")
    if not isinstance(items, list):
        raise Invalid("write a list of items", field="$.items")
    if len(items) > MOST_ITEMS:
        raise Invalid(f"a batch may have {MOST_ITEMS:,} items, not {len(items):,}", field="$.items")
    return Batch(workspace_id, read_items(items))


def read_items(items: Sequence[strict_json.JsonValue]) -> list[tuple[str, str]]:
    """The items as (kind, JSON text). Raises Invalid for what is not an item."""
    return [_item(item, position) for position, item in enumerate(items)]


def take_in(tx: Transaction, arrived: Sequence[tuple[Batch, str]]) -> list[bool]:
    """Keep the items of batches that came with these keys; False for one that has come before: it is dropped."""
    now = to_micros(tx.now())
    are_new = [False] * len(arrived)
    # In one order for all: who writes a key waits for whoever is writing the same.
    for position in sorted(range(len(arrived)), key=lambda at: (arrived[at][0].workspace_id, arrived[at][1])):
        batch, key = arrived[position]
        are_new[position] = collected.see_batch(tx, batch.workspace_id, key, len(batch.items), now)
    collected.put(
        tx,
        [
            {"workspace_id": batch.workspace_id, "batch_key": key, "kind": kind, "item": item, "received_at": now}
            for (batch, key), is_new in zip(arrived, are_new, strict=True)
            if is_new
            for kind, item in batch.items
        ],
    )
    return are_new


def listed(tx: Transaction, workspace_id: str, kind: str | None, page: Page) -> Slice[CollectedView]:
    """Items, newest first. Raises Invalid for a foreign cursor."""
    found = collected.newest_first(tx, workspace_id, kind, page.number("collected"), page.limit + 1)
    return cut(found, page, "collected", lambda item: (item.pk,))


def exported(tx: Transaction, workspace_id: str, kind: str | None, after: int, count: int) -> list[CollectedView]:
    """The next `count` items, oldest first, with a number above `after`."""
    return collected.oldest_first(tx, workspace_id, kind, after, count)


def _item(item: strict_json.JsonValue, position: int) -> tuple[str, str]:
    kind = item.get("kind") if isinstance(item, dict) else None
    if not isinstance(kind, str):
        raise Invalid("an item is a JSON object with a kind", field=f"$.items[{position}]")
    return kind, strict_json.rewrite(item).decode()
