"""Events leave for their subscribers: taken, sent by whoever asked, and what the subscriber said recorded.

At least once: one whose sender dies is sent again when its lease ends, with the same id.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.domain.subscriptions import LONGEST_WAIT, DeliveryStatus, Standing, wait_after
from orchestrator.service import subscriptions
from orchestrator.service.claimed import LeaseTerms
from orchestrator.store import event_deliveries
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.event_deliveries import OutgoingEvent
from orchestrator.store.transaction import Transaction

GONE = 410
_SHOWN_CHARS = 500


@dataclass(frozen=True, slots=True)
class NotLaunched:
    """The event could not launch its task now, for what the message says."""

    message: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a try; `jitter` in [-1, 1] moves the wait before the next one."""

    event: OutgoingEvent
    outcome: Response | NoResponse | NotLaunched
    jitter: float

    @property
    def is_success(self) -> bool:
        return isinstance(self.outcome, Response) and 200 <= self.outcome.status < 300

    @property
    def is_gone(self) -> bool:
        return isinstance(self.outcome, Response) and self.outcome.status == GONE

    @property
    def is_lost(self) -> bool:
        """Cut off on our side: it says nothing about the subscriber."""
        return isinstance(self.outcome, NoResponse) and self.outcome.kind is FailureKind.LOST

    @property
    def asked(self) -> timedelta | None:
        """The wait that the subscriber asked for."""
        return self.outcome.retry_after if isinstance(self.outcome, Response) else None

    @property
    def words(self) -> str:
        return str(self.outcome) if isinstance(self.outcome, Response) else self.outcome.message

    def row(self, **more: Any) -> dict[str, Any]:
        key = {"subscription_pk": self.event.subscription_pk, "event_pk": self.event.event_pk}
        message = None if self.is_success else f"try {self.event.tries}: {self.words}"[:_SHOWN_CHARS]
        return {**key, "message": message, **more}


def next_due(tx: Transaction) -> timedelta | None:
    """How long until a delivery is due; None if none waits."""
    due = event_deliveries.first_due(tx)
    return None if due is None else max(timedelta(), from_micros(due) - tx.now())


def take(tx: Transaction, places: int, terms: LeaseTerms) -> list[OutgoingEvent]:
    """Take due deliveries; another node takes them over when the lease has passed."""
    now = tx.now()
    return event_deliveries.take(tx, places, terms.node, to_micros(now), to_micros(now + terms.length))


def release_unknown(tx: Transaction, node: str, known: Collection[tuple[int, int]]) -> None:
    """Give back what `node` has taken but for what it knows of: commits whose outcome never reached it."""
    event_deliveries.release_unknown(tx, node, known, to_micros(tx.now()))


def record(tx: Transaction, sent: Sequence[Sent]) -> None:
    """Record what the subscribers said: taken in, to be tried again, given up; and how each of them fares.

    A try that was lost on our side is taken back, and due again at once.
    """
    held = subscriptions.hold(tx, sorted({one.event.subscription_pk for one in sent}))
    standings = dict(held)
    now = tx.now()
    _move_on(tx, sent, held, now)
    for one in sent:
        pk = one.event.subscription_pk
        if pk in standings:
            if one.is_success and standings[pk].is_outage:
                subscriptions.hasten(tx, pk, now)
            standings[pk] = _standing(standings[pk], one, now)
    for pk, standing in standings.items():
        if standing != held[pk]:
            subscriptions.put_standing(tx, pk, standing, now)


def _move_on(tx: Transaction, sent: Sequence[Sent], held: Mapping[int, Standing], now: datetime) -> None:
    closed: list[dict[str, Any]] = []
    postponed: list[dict[str, Any]] = []
    given_back: list[dict[str, Any]] = []
    for one in sent:
        if one.is_lost:
            given_back.append(one.row(tries=one.event.tries, now=to_micros(now)))
            continue
        wait = None if one.is_success else _wait(one, held.get(one.event.subscription_pk))
        if wait is None:
            status = DeliveryStatus.DELIVERED if one.is_success else DeliveryStatus.FAILED
            closed.append(one.row(status=status.value, now=to_micros(now)))
        else:
            postponed.append(one.row(due_at=to_micros(now + wait)))
    event_deliveries.close(tx, closed)
    event_deliveries.postpone(tx, postponed)
    event_deliveries.give_back(tx, given_back)


def _wait(sent: Sent, standing: Standing | None) -> timedelta | None:
    """None: given up. While the subscriber cannot be reached no event is; it is paused before long."""
    wait = wait_after(sent.event.tries, sent.jitter)
    if wait is None and standing is not None and standing.is_outage:
        wait = LONGEST_WAIT
    return None if wait is None else max(wait, min(sent.asked or timedelta(), LONGEST_WAIT))


def _standing(standing: Standing, sent: Sent, now: datetime) -> Standing:
    if sent.is_success:
        return standing.after_success()
    if sent.is_lost:
        return standing.after_lost(from_micros(sent.event.lease_until), now)
    if sent.is_gone:
        return standing.after_gone(sent.words)
    return standing.after_failure(sent.words, sent.asked, now, sent.jitter)
