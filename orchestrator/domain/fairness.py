"""How the free places of a node are shared between the apps that have due workers."""

from collections.abc import Sequence
from dataclasses import dataclass

UNANSWERED_LIMIT = 5
PLACES_WHEN_SILENT = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """An app with due workers, and how many more calls it may have in flight."""

    app: int
    room: int


@dataclass(frozen=True, slots=True)
class Contender:
    """An app whose due workers wait for a place, and how many calls it has in flight."""

    app: int
    calling: int

    def has_less_than(self, calling: int) -> bool:
        """Whether it should have a place of an app that has `calling` calls in flight, itself included."""
        return self.calling == 0 or self.calling + 1 < calling


def room(max_concurrent_calls: int, calling: int, unanswered_calls: int) -> int:
    """How many more calls an app may have in flight; one whose last 5 calls got no answer holds 2 places."""
    limit = max_concurrent_calls
    if unanswered_calls >= UNANSWERED_LIMIT:
        limit = min(limit, PLACES_WHEN_SILENT)
    return max(0, limit - calling)


def share(places: int, demands: Sequence[Demand], turn: int) -> dict[int, int]:
    """Places for each app, as even as their room allows.

    `turn` moves the odd places on from one app to the next, so that none is passed over for ever.
    """
    granted = dict.fromkeys((demand.app for demand in demands), 0)
    hungry = [demand for demand in demands if demand.room > 0]
    while places > 0 and hungry:
        each = places // len(hungry)
        if each == 0:
            first = turn % len(hungry)
            hungry, each = (hungry[first:] + hungry[:first])[:places], 1
        for demand in hungry:
            given = min(each, demand.room - granted[demand.app])
            granted[demand.app] += given
            places -= given
        hungry = [demand for demand in hungry if granted[demand.app] < demand.room]
    return {app: count for app, count in granted.items() if count}
