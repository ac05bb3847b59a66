"""Sharing: how the free places of a node are shared out to the apps whose workers are due, and who gives way."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.domain.fairness import Contender, Demand, share
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import AHEAD
from orchestrator.service import allowances
from orchestrator.service.holding import Held
from orchestrator.store.apps import AppStanding, DueApp
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


@dataclass(frozen=True, slots=True)
class Horizon:
    """Who is claimed at a look: those that are due `now`, and those that are so soon after it.

    Whoever claims calls nobody before it is due.
    """

    now: datetime
    ahead: timedelta

    @classmethod
    def of(cls, places: Places, now: datetime) -> "Horizon":
        """The last places wait for who is due already."""
        return cls(now, AHEAD if places.free > max(1, places.spare) else timedelta())

    def ends(self, standing: AppStanding) -> datetime:
        """An app with a rate limit must not be called sooner after other calls than their claims tell."""
        return self.now if standing.rate_calls is not None else self.now + self.ahead

    def holds(self, app: DueApp) -> bool:
        """Whether a worker of the app may be claimed."""
        return is_due(app, self.ends(app.standing))

    def next_look(self, app: DueApp) -> timedelta:
        """How long until the app's first worker is to be claimed: midway to its time, together with those that follow.

        Zero, where that is over.
        """
        assert app.first_due_at is not None
        due_in = timedelta(microseconds=app.first_due_at - to_micros(self.now))
        return max(timedelta(), due_in - (self.ends(app.standing) - self.now) / 2)


def shares(due_apps: Sequence[DueApp], horizon: Horizon, places: Places) -> dict[int, int]:
    """How many workers of each app are claimed at most, by the app's key."""
    # Where there are fewer places than such apps, who has waited longest goes first.
    now = horizon.now
    due = sorted((app for app in due_apps if horizon.holds(app)), key=lambda app: app.first_due_at or 0)
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


def next_due(due_apps: Sequence[DueApp], taken: Collection[int], horizon: Horizon) -> timedelta | None:
    """How long until a worker can be claimed, None if none waits. `taken`: the apps that some were just claimed of."""
    now = horizon.now
    waits = []
    for app in due_apps:
        if app.first_due_at is None:
            continue
        rate_wait = allowances.rate_wait(app.standing, now)
        if not horizon.holds(app) or rate_wait:
            waits.append(max(horizon.next_look(app), rate_wait))
        elif app.pk in taken and _room(app, now) > 0:
            waits.append(timedelta())
    return min(waits, default=None)


def moved_on(due_apps: Sequence[DueApp], held: Iterable[Held]) -> list[DueApp]:
    """The apps as they stand once what was decided on these executions is written."""
    calls: Counter[int] = Counter()
    dues: dict[int, int] = {app.pk: app.first_due_at for app in due_apps if app.first_due_at is not None}
    for one in held:
        if one.definition.is_pull:
            continue
        for worker_id in one.execution.touched:
            worker, was = one.execution.workers[worker_id], one.guards.get(worker_id)
            was_calling = was is not None and was[1] == WorkerStatus.CALLING
            calls[one.app_pk] += (worker.status is WorkerStatus.CALLING) - was_calling
            if worker.status is WorkerStatus.READY and worker.due_at is not None and not worker.is_held:
                due_at = to_micros(worker.due_at)
                dues[one.app_pk] = min(due_at, dues.get(one.app_pk, due_at))
    return [
        DueApp(replace(app.standing, calling=app.standing.calling + calls[app.pk]), dues.get(app.pk))
        for app in due_apps
    ]


def is_due(app: DueApp, now: datetime) -> bool:
    """Whether a worker of the app is due."""
    return app.first_due_at is not None and app.first_due_at <= to_micros(now)


def _room(app: DueApp, now: datetime) -> int:
    return allowances.room_of(app.standing, now)
