"""Subscriptions: how deliveries are tried again, and when one that only fails is left in peace."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.domain.retry import JITTER, RetryPolicy


class SubscriptionKind(StrEnum):
    """Where events go: to an HTTP endpoint, to a topic exchange of AMQP, or into an execution of a task."""

    HTTP = "http"
    AMQP = "amqp"
    TASK = "task"


class SubscriptionStatus(StrEnum):
    """PAUSED: events are noted, and sent when it goes on. DISABLED: its endpoint is gone (410); nothing is noted."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryStatus(StrEnum):
    """FAILED: tried as often as is sensible; a replay tries it again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


# The example of Standard Webhooks 1.0.0: three days from the first try to the last.
_WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
LONGEST_WAIT = _WAITS[-1]
PAUSED_AFTER = timedelta(days=3)
# A subscriber that is down is asked by one delivery at a time, at these distances.
_PROBES = RetryPolicy(initial_delay=_WAITS[0], max_delay=_WAITS[1])
# From so many failures in a row on it is the subscriber that is to blame, not the event.
_OUTAGE = 3
_SHOWN_CHARS = 500


def wait_after(tries: int, jitter: float) -> timedelta | None:
    """The wait of a delivery after so many failed tries; None when it is given up. `jitter` in [-1, 1]: up to 10 %."""
    return _WAITS[tries - 1] * (1 + JITTER * jitter) if tries <= len(_WAITS) else None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subscription fares. `failures`: tries in a row; `failing_since`: the first of them; no try before then."""

    status: SubscriptionStatus
    reason: str | None = None
    failures: int = 0
    failing_since: datetime | None = None
    retry_at: datetime | None = None

    @property
    def is_outage(self) -> bool:
        """Whether it looks as if the subscriber could not be reached at all."""
        return self.failures >= _OUTAGE

    def after_success(self) -> "Standing":
        """The subscriber took an event in: whatever was wrong is over. A pause that a person asked for stays."""
        return Standing(self.status, self.reason)

    def after_lost(self, lease_until: datetime, now: datetime) -> "Standing":
        """A try came to nothing on our side. If it was the only one until the end of its lease, another may follow."""
        return replace(self, retry_at=now) if self.retry_at == lease_until else self

    def after_failure(self, words: str, asked: timedelta | None, now: datetime, jitter: float) -> "Standing":
        """A try failed, for what `words` say; `asked`: the wait that the subscriber asked for."""
        failures, since = self.failures + 1, self.failing_since or now
        wait = min(asked, LONGEST_WAIT) if asked is not None else _PROBES.backoff(failures, jitter)
        failing = replace(self, failures=failures, failing_since=since, retry_at=now + wait)
        if self.status is SubscriptionStatus.ACTIVE and now - since >= PAUSED_AFTER:
            reason = f"nothing was delivered since {since:%Y-%m-%d %H:%M} UTC; the last try: {words}"
            return replace(failing, status=SubscriptionStatus.PAUSED, reason=reason[:_SHOWN_CHARS])
        return failing

    def after_gone(self, words: str) -> "Standing":
        """The endpoint answered 410: it wants no more."""
        return Standing(SubscriptionStatus.DISABLED, f"the endpoint says that it is gone: {words}"[:_SHOWN_CHARS])
