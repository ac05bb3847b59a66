"""Sharing: how the free places of a node are shared out to the apps whose workers are due, and who gives way."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.fairness import Contender, Demand, share
from orchestrator.service import allowances
from orchestrator.store.apps import DueApp
from orchestrator.store.clock import to_micros


@dataclass(frozen=True, slots=True)
class Places:
    """The node's free places. Up to `spare` of them are kept for apps that have no call in flight, one for each.

    So an app whose own limit is above the node's cannot take every place and let the others wait for its answers.
    `turn` moves the odd places from app to app.
    """

    free: int
    spare: int
    turn: int = 0


def shares(due_apps: Sequence[DueApp], now: datetime, places: Places) -> dict[int, int]:
    """How many workers of each app are claimed at most, by the app's key."""
    # Where there are fewer places than such apps, who has waited longest goes first.
    due = sorted((app for app in due_apps if is_due(app, now)), key=lambda app: app.first_due_at or 0)
    # One for each app that may come; kept for none, a place would stand empty.
    spare = min(places.spare, sum(not app.standing.calling for app in due_apps))
    demands = [Demand(app.pk, _room(app, now)) for app in due]
    shared = share(max(0, places.free - spare), demands, places.turn)
    left = places.free - sum(shared.values())
    idle = [app.pk for app in due if app.pk not in shared and not app.standing.calling and _room(app, now) > 0]
    return {**shared, **dict.fromkeys(idle[:left], 1)}


def giving_way(due_apps: Sequence[DueApp], going_on: Collection[int], now: datetime) -> set[int]:
    """Those of the apps whose place another one should have, whose due workers wait for nothing but a place."""
    waiting = [Contender(app.pk, app.standing.calling) for app in due_apps if is_due(app, now) and _room(app, now) > 0]
    calling = {app.pk: app.standing.calling for app in due_apps}
    return {pk for pk in going_on if any(one.app != pk and one.has_less_than(calling.get(pk, 0)) for one in waiting)}


def next_due(due_apps: Sequence[DueApp], taken: Collection[int], now: datetime) -> timedelta | None:
    """How long until a worker can be claimed, None if none waits. `taken`: the apps that some were just claimed of."""
    waits = []
    for app in due_apps:
        if app.first_due_at is None:
            continue
        due_in = timedelta(microseconds=app.first_due_at - to_micros(now))
        rate_wait = allowances.rate_wait(app.standing, now)
        if due_in > timedelta() or rate_wait:
            waits.append(max(due_in, rate_wait))
        elif app.pk in taken and _room(app, now) > 0:
            waits.append(timedelta())
    return min(waits, default=None)


def is_due(app: DueApp, now: datetime) -> bool:
    """Whether a worker of the app is due."""
    return app.first_due_at is not None and app.first_due_at <= to_micros(now)


def _room(app: DueApp, now: datetime) -> int:
    return allowances.room_of(app.standing, now)
