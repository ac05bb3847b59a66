"""Subscriptions and their deliveries."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.answers import instant, maybe_instant
from orchestrator.api.shapes.parts import Asked, Instant, Shown, Time
from orchestrator.service.subscriptions import Replayed as ReplayedEvents
from orchestrator.store.event_deliveries import DeliveryView
from orchestrator.store.subscriptions import SubscriptionView

Kind = Literal["http", "amqp", "task"]
Status = Literal["active", "paused", "disabled"]
DeliveryStatus = Literal["pending", "delivered", "failed"]
_PATTERN = "Dotted words, where `*` is one word and `#` any number of words, or none."


class NewSubscription(Asked):
    """A subscription to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"target_url": "https://example.com/events", "pattern": "core.task.#.failure.v1"}]
        }
    )

    target_url: str = Field(max_length=2048)
    pattern: str = Field(description=_PATTERN)
    secret: str | None = Field(
        default=None,
        max_length=1024,
        description="`whsec_` and 24 to 64 bytes in base64; one is made where none is given. A broker's: its password.",
    )


class SubscriptionChange(Asked):
    """What is to be different."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "paused"}, {"pattern": "core.task.#"}]})

    pattern: str | None = Field(default=None, description=_PATTERN)
    status: Literal["active", "paused"] | None = Field(
        default=None, description="`paused`: events are noted, and sent once it is `active` again."
    )


class Replay(Asked):
    """Which events to send again; what is left out does not restrict."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"only_failed": True}, {"after": 41}]})

    after: int = Field(default=0, ge=0, le=2**63 - 1, description="Those with a higher number (`seq`) than this.")
    since: Instant | None = Field(default=None, description="Those of this time, or later.")
    until: Instant | None = Field(default=None, description="Those before this time.")
    only_failed: bool = Field(default=False, description="Those only that were given up.")


class Replayed(Shown):
    """How many are sent again."""

    deliveries: int
    next_after: int | None = Field(description="There are more: ask again with this `after`; null when all were seen.")


class Subscription(Shown):
    """Who wants which events. `failures`: tries in a row that failed; the next one is not made before `retry_at`."""

    id: str
    kind: Kind
    target_url: str | None
    task_id: str | None
    pattern: str
    status: Status
    status_reason: str | None
    failures: int
    failing_since: Time | None
    retry_at: Time | None
    created_at: Time
    updated_at: Time


class SubscriptionInFull(Subscription):
    """A subscription, and how many events are still to be delivered."""

    pending: int


class SubscriptionWithSecret(Subscription):
    """A subscription, with the secret that its events are signed with."""

    secret: str | None = Field(default=None, description="Told once: a replayed answer leaves it out.")


class Delivery(Shown):
    """An event on its way to a subscription; `message` is what its last try failed with."""

    event_id: str
    seq: int
    type: str
    execution_id: str
    status: DeliveryStatus
    tries: int
    due_at: Time | None
    message: str | None
    created_at: Time
    ended_at: Time | None


def subscription(view: SubscriptionView) -> dict[str, Any]:
    return {
        "id": view.id,
        "kind": view.kind,
        "target_url": view.target_url,
        "task_id": view.task_id,
        "pattern": view.pattern,
        "status": view.status,
        "status_reason": view.status_reason,
        "failures": view.failures,
        "failing_since": maybe_instant(view.failing_since),
        "retry_at": maybe_instant(view.retry_at),
        "created_at": instant(view.created_at),
        "updated_at": instant(view.updated_at),
    }


def delivery(view: DeliveryView) -> dict[str, Any]:
    return {
        "event_id": view.event_id,
        "seq": view.seq,
        "type": view.type,
        "execution_id": view.subject,
        "status": view.status,
        "tries": view.tries,
        "due_at": maybe_instant(view.due_at),
        "message": view.message,
        "created_at": instant(view.created_at),
        "ended_at": maybe_instant(view.ended_at),
    }


def replayed(found: ReplayedEvents) -> dict[str, Any]:
    return {"deliveries": found.deliveries, "next_after": found.next_after}
