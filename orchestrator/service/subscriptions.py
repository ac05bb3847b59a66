"""Subscriptions: who wants which events. Create, list, change, delete, send again what was."""

import base64
import binascii
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from app_sdk.protocol.manifest import is_http_url
from app_sdk.protocol.signing import SECRET_PREFIX, generate_secret
from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.domain.patterns import read_pattern
from orchestrator.domain.subscriptions import Standing, SubscriptionKind, SubscriptionStatus
from orchestrator.service.paging import Page, Slice, cut
from orchestrator.service.vault import Vault
from orchestrator.store import event_deliveries, events
from orchestrator.store import subscriptions as statements
from orchestrator.store.clock import maybe_instant, maybe_micros, to_micros
from orchestrator.store.event_deliveries import DeliveryView
from orchestrator.store.events import Range
from orchestrator.store.subscriptions import SubscriptionView
from orchestrator.store.transaction import Transaction

# What one replay looks at, in one transaction.
REPLAYED = 2_000
_KEY_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True)
class SubscriptionOrder:
    """What a new subscription is to be; a secret is made where none is given. For a broker, it is the password."""

    workspace_id: str
    target_url: str
    pattern: str
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Which events are to be sent again: numbers above `after`, written from `since` to before `until`.

    `only_failed`: of these, the deliveries that were given up. Else all, also those that were never noted.
    """

    after: int = 0
    since: datetime | None = None
    until: datetime | None = None
    only_failed: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries are due anew; `next_after` is where to go on, None when all was looked at."""

    deliveries: int
    next_after: int | None


def create(tx: Transaction, vault: Vault, order: SubscriptionOrder) -> tuple[SubscriptionView, str]:
    """Make a subscription; returns it with its secret, which is told once. Raises Invalid."""
    read_pattern(order.pattern, "$.pattern")
    kind = _kind(order.target_url)
    if kind is SubscriptionKind.AMQP:
        plain = _password(order.secret)
    else:
        plain = generate_secret() if order.secret is None else _checked(order.secret)
    id_ = _new_id()
    row = {
        "id": id_,
        "workspace_id": order.workspace_id,
        "kind": kind.value,
        "target_url": order.target_url,
        "task_pk": None,
        "pattern": order.pattern,
        "secret_encrypted": vault.seal(plain),
        "now": to_micros(tx.now()),
    }
    statements.insert(tx, row)
    return get(tx, order.workspace_id, id_), plain


def set_of_task(tx: Transaction, workspace_id: str, task_pk: int, patterns: Collection[str]) -> None:
    """Let events that match launch a task, as its manifest asks; what it no longer asks for ends."""
    now = to_micros(tx.now())
    known = statements.of_task(tx, task_pk)
    for pattern, pk in known.items():
        if pattern not in patterns:
            statements.delete(tx, pk, now)
    for pattern in sorted(set(patterns) - known.keys()):
        row = {
            "id": _new_id(),
            "workspace_id": workspace_id,
            "kind": SubscriptionKind.TASK.value,
            "target_url": None,
            "task_pk": task_pk,
            "pattern": pattern,
            "secret_encrypted": None,
            "now": now,
        }
        statements.insert(tx, row)


def get(tx: Transaction, workspace_id: str, id_: str) -> SubscriptionView:
    """Raises NotFound."""
    found = statements.find(tx, workspace_id, id_)
    if found is None:
        raise NotFound(f"there is no subscription {id_}")
    return found


def listed(tx: Transaction, workspace_id: str, page: Page) -> Slice[SubscriptionView]:
    """The workspace's subscriptions, newest first. Raises Invalid for a foreign cursor."""
    found = statements.listed(tx, workspace_id, page.number("subscriptions"), page.limit + 1)
    return cut(found, page, "subscriptions", lambda one: (one.pk,))


def pending(tx: Transaction, subscription: SubscriptionView) -> int:
    """How many events it is still to be sent."""
    return event_deliveries.pending(tx, subscription.pk)


def set_pattern(tx: Transaction, workspace_id: str, id_: str, pattern: str) -> None:
    """Want other events from now on; what is noted stays. Raises NotFound, Invalid, Conflict."""
    read_pattern(pattern, "$.pattern")
    statements.set_pattern(tx, _own(tx, workspace_id, id_).pk, pattern, to_micros(tx.now()))


def pause(tx: Transaction, workspace_id: str, id_: str, reason: str) -> None:
    """Send nothing; events are noted all the same. Raises NotFound."""
    _set_standing(tx, get(tx, workspace_id, id_).pk, Standing(SubscriptionStatus.PAUSED, reason))


def resume(tx: Transaction, workspace_id: str, id_: str) -> None:
    """Send what was noted meanwhile, and go on, at once. Raises NotFound."""
    pk = get(tx, workspace_id, id_).pk
    _set_standing(tx, pk, Standing(SubscriptionStatus.ACTIVE))
    hasten(tx, pk, tx.now())


def delete(tx: Transaction, workspace_id: str, id_: str) -> None:
    """End a subscription; what it was not told yet, it will not be. Raises NotFound, Conflict."""
    statements.delete(tx, _own(tx, workspace_id, id_).pk, to_micros(tx.now()))


def deliveries(tx: Transaction, workspace_id: str, id_: str, status: str | None, page: Page) -> Slice[DeliveryView]:
    """What became of its events, the newest first. Raises NotFound; Invalid for a foreign cursor."""
    subscription = get(tx, workspace_id, id_)
    found = event_deliveries.listed(tx, subscription.pk, status, page.number("deliveries"), page.limit + 1)
    return cut(found, page, "deliveries", lambda one: (one.event_pk,))


def replay(tx: Transaction, workspace_id: str, id_: str, wanted: Replay) -> Replayed:
    """Send events again that match the pattern, REPLAYED of them looked at in one go. Raises NotFound."""
    subscription = get(tx, workspace_id, id_)
    pattern = read_pattern(subscription.pattern)
    range_ = Range(workspace_id, wanted.after, since=maybe_micros(wanted.since), until=maybe_micros(wanted.until))
    found = events.heads(tx, range_, REPLAYED)
    now = to_micros(tx.now())
    rows = [
        {"subscription_pk": subscription.pk, "event_pk": head.pk, "now": now}
        for head in found
        if pattern.matches(head.type)
    ]
    again = event_deliveries.put_again(tx, rows, only_failed=wanted.only_failed)
    return Replayed(again, found[-1].seq if len(found) == REPLAYED else None)


def hold(tx: Transaction, pks: list[int]) -> dict[int, Standing]:
    """Lock subscriptions, and how each of them fares; one that is gone is left out."""
    return {
        pk: Standing(SubscriptionStatus(status), reason, failures, maybe_instant(since), maybe_instant(retry_at))
        for pk, (status, reason, failures, since, retry_at) in statements.lock(tx, pks).items()
    }


def _set_standing(tx: Transaction, pk: int, standing: Standing) -> None:
    hold(tx, [pk])
    put_standing(tx, pk, standing, tx.now())


def hasten(tx: Transaction, pk: int, now: datetime) -> None:
    """Try at once what was put off: the subscriber is back."""
    event_deliveries.hasten(tx, pk, to_micros(now))


def put_standing(tx: Transaction, pk: int, standing: Standing, now: datetime) -> None:
    """Write how a subscription fares, under its lock."""
    statements.set_standing(
        tx,
        {
            "pk": pk,
            "status": standing.status.value,
            "status_reason": standing.reason,
            "failures": standing.failures,
            "failing_since": maybe_micros(standing.failing_since),
            "retry_at": maybe_micros(standing.retry_at),
            "now": to_micros(now),
        },
    )


def _own(tx: Transaction, workspace_id: str, id_: str) -> SubscriptionView:
    found = get(tx, workspace_id, id_)
    if found.kind == SubscriptionKind.TASK:
        raise Conflict(f"{id_} belongs to task {found.task_id}: change on_events in the manifest of its app")
    return found


def _new_id() -> str:
    return f"sub_{secrets.token_hex(10)}"


def _kind(url: str) -> SubscriptionKind:
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable() and " " not in url
    except ValueError:
        is_whole = False
    if is_whole and parts.scheme in ("amqp", "amqps") and parts.username and parts.password is None:
        return SubscriptionKind.AMQP
    if is_whole and is_http_url(url) and "@" not in parts.netloc:
        return SubscriptionKind.HTTP
    raise Invalid(
        "write a full URL without a user name, such as https://example.com/events, or that of a broker with one, such "
        "as amqps://user@example.com/vhost?exchange=core.events",
        field="$.target_url",
    )


def _password(secret: str | None) -> str:
    if not secret:
        raise Invalid("write the password of the broker's user", field="$.secret")
    return secret


def _checked(secret: str) -> str:
    """Receivers' libraries decode the key, so that a plain password would never verify."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in _KEY_BYTES:
        raise Invalid(f"write {SECRET_PREFIX} and 24 to 64 bytes in base64, or leave it out", field="$.secret")
    return secret
