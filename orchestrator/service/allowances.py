"""Allowances: how many calls an app's limits let this node begin now."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from orchestrator.domain.fairness import room
from orchestrator.domain.rate import Rate, Spent
from orchestrator.store import apps
from orchestrator.store.apps import ActiveApps, AppStanding
from orchestrator.store.clock import from_micros, to_micros
from orchestrator.store.transaction import Transaction


@dataclass(slots=True)
class Allowance:
    """What an app may still begin, counted down as its workers are claimed."""

    standing: AppStanding
    left: int
    begun: int = 0

    @property
    def after(self) -> AppStanding:
        """How the app stands once these calls are in flight."""
        return replace(self.standing, calling=self.standing.calling + self.begun)

    def take(self) -> bool:
        """Count one call; False if there is no room for it."""
        if self.left <= 0:
            return False
        self.left -= 1
        self.begun += 1
        return True


def room_of(standing: AppStanding, now: datetime) -> int:
    """How many calls the app may begin at this instant; 0 where it is at one of its limits."""
    places = room(standing.max_concurrent_calls, standing.calling, standing.unanswered_calls)
    rate = _rate_of(standing)
    return places if rate is None else min(places, rate.left(now))


def rate_wait(standing: AppStanding, now: datetime) -> timedelta:
    """How long the app's rate limit forbids every call; none where there is no such limit."""
    rate = _rate_of(standing)
    return timedelta() if rate is None else rate.wait(now)


def allowed(locked: ActiveApps, now: datetime) -> dict[int, Allowance]:
    """The allowances of those of the apps that are active, counted under the locks of their rows."""
    return {pk: Allowance(standing, room_of(standing, now)) for pk, standing in locked.standings().items()}


def spend(tx: Transaction, allowances: Iterable[Allowance], now: datetime) -> None:
    """Write down the calls begun, where a rate limit counts them."""
    for allowance in allowances:
        rate = _rate_of(allowance.standing)
        if rate is not None and allowance.begun:
            recent = [(to_micros(spent.until), spent.calls) for spent in rate.spend(allowance.begun, now)]
            text = orjson.dumps(recent).decode()
            apps.set_rate(tx, allowance.standing.pk, text)
            allowance.standing = replace(allowance.standing, rate_recent=text)


def _rate_of(standing: AppStanding) -> Rate | None:
    if standing.rate_calls is None or standing.rate_per_secs is None:
        return None
    recent = orjson.loads(standing.rate_recent) if standing.rate_recent else []
    return Rate(
        calls=standing.rate_calls,
        per=timedelta(seconds=standing.rate_per_secs),
        recent=tuple(Spent(from_micros(until), calls) for until, calls in recent),
    )
